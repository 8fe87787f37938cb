"""What the repository holds to restore from: whole backups, and WAL segment by segment."""

import json
import re
import shlex
from typing import Any, TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from facts.archive import pgbackrest
from facts.pgbackrest import NO_BACKUP, NO_STANZA, OK
from recovery import Archive, Backup
from recovery_target import position

HISTORY = re.compile(r"history ([0-9A-F]{8})\.history")
SEGMENT = re.compile(r"[0-9A-F]{24}")


class Restorable(TypedDict):
    """Whole backups of the present database, and the host's clock, seconds since the epoch.

    `system` is the database's system identifier, "" without any backup. Without a `stanza` nothing
    can be archived or backed up there.
    """

    stanza: bool
    system: str
    backups: list[Backup]
    now: float


class RestorableBackups(FactBase[Restorable | None]):
    """Return the backups that can be restored, or None where pgBackRest cannot tell.

    + stanza: name of the stanza
    + repository: pgBackRest's number of it
    + config: pgBackRest's configuration, where it is not the usual one
    """

    @override
    def requires_command(self, stanza: str, repository: int = 1, config: str = "") -> str:
        return "pgbackrest"

    @override
    def command(self, stanza: str, repository: int = 1, config: str = "") -> StringCommand:
        return StringCommand(
            f"{_asking(stanza, repository, config)} date +%s; ask --output=json info || echo null"
        )

    @override
    def process(self, output: list[str]) -> Restorable | None:
        answer: list[dict[str, Any]] | None = json.loads("\n".join(output[1:]))
        if answer is None:
            return None
        stanza = answer[0] if answer else {}
        code = stanza["status"]["code"] if stanza else NO_STANZA[0]
        if code not in (OK, NO_BACKUP, *NO_STANZA):
            return None
        systems = {one["id"]: str(one.get("system-id", "")) for one in stanza.get("db", [])}
        newest = max(systems, default=0)
        return Restorable(
            stanza=code in (OK, NO_BACKUP),
            system=systems.get(newest, ""),
            backups=[
                _backup(one)
                for one in stanza.get("backup", [])
                if one["database"]["id"] == newest and not one.get("error")
            ],
            now=float(output[0]),
        )


class BackupTablespaces(FactBase[dict[str, list[str]] | None]):
    """Return the tablespaces in each backup that can be read, such as "far at /srv/far".

    + stanza: name of the stanza
    + labels: of the backups
    + repository: pgBackRest's number of the one that they are in
    + config: pgBackRest's configuration, where it is not the usual one
    """

    @override
    def requires_command(
        self, stanza: str, labels: list[str], repository: int = 1, config: str = ""
    ) -> str:
        return "pgbackrest"

    @override
    def command(
        self, stanza: str, labels: list[str], repository: int = 1, config: str = ""
    ) -> StringCommand:
        return StringCommand(
            f"{_asking(stanza, repository, config)} for label in {shlex.join(labels)}; do"
            ' ask --output=json --set="$label" info || echo null; echo; done'
        )

    @override
    def process(self, output: list[str]) -> dict[str, list[str]]:
        # Of a backup that cannot be read pgBackRest tells nothing, and ends well.
        answers = [json.loads(line) for line in output if line]
        return {
            one["label"]: [
                f"{space['name']} at {space['destination']}" for space in one["tablespace"] or []
            ]
            for answer in answers
            for one in (answer[0]["backup"] if answer else [])
        }


class ArchiveListing(FactBase[Archive | None]):
    """Return what the archive of the present database has, or None where nobody can tell.

    + stanza: name of the stanza
    + histories: with each timeline's history, which is read one by one
    + repository: pgBackRest's number of it
    + config: pgBackRest's configuration, where it is not the usual one
    """

    @override
    def requires_command(
        self, stanza: str, histories: bool = True, repository: int = 1, config: str = ""
    ) -> str:
        return "pgbackrest"

    @override
    def command(
        self, stanza: str, histories: bool = True, repository: int = 1, config: str = ""
    ) -> StringCommand:
        archive = shlex.quote(f"archive/{stanza}")
        read = (
            " for name in $(echo \"$names\" | grep -E '^[0-9A-F]{8}[.]history$'); do"
            f' echo "history $name"; ask repo-get {archive}/"$id/$name"; done;'
        )
        # An archive of each major version, such as 17-1 and 18-2: the last is in use.
        return StringCommand(
            f"{_asking(stanza, repository, config)} if ids=$(ask repo-ls {archive}) &&"
            " id=$(echo \"$ids\" | grep -E '^[0-9]+-[0-9]+$' | sort -t- -k2n | tail -n1) &&"
            f' names=$(ask repo-ls --recurse {archive}/"$id"); then echo "$names"'
            " | sed -nE 's|^.*/([0-9A-F]{24})-[0-9a-f]{40}.*$|\\1|p' | sort -u;"
            f"{read if histories else ''} echo end; else echo unknown; fi"
        )

    @override
    def process(self, output: list[str]) -> Archive | None:
        if output[-1] != "end":
            return None
        segments, histories, timeline = set[str](), dict[int, str](), 0
        for line in output[:-1]:
            if found := HISTORY.fullmatch(line):
                timeline = int(found[1], 16)
                histories[timeline] = ""
            elif SEGMENT.fullmatch(line):
                segments.add(line)
            elif timeline:
                histories[timeline] += f"{line}\n"
        return Archive(frozenset(segments), histories)


def _asking(stanza: str, repository: int, config: str) -> str:
    """Return a shell function that asks pgBackRest, and is silent where that cannot tell."""
    call = f"{pgbackrest(repository, config)} {shlex.quote(stanza)}"
    return f'cd / && ask() {{ {call} "$@" 2>/dev/null; }};'


def _backup(one: dict[str, Any]) -> Backup:
    return Backup(
        label=one["label"],
        stopped=one["timestamp"]["stop"],
        size=one["info"]["size"],
        timeline=int(one["archive"]["stop"][:8], 16),
        start=position(one["lsn"]["start"]),
        stop=position(one["lsn"]["stop"]),
    )
