"""What the repository holds."""

import json
from collections.abc import Callable
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

# Status codes of `pgbackrest info` (its command reference): 0 is ok, 2 means "no valid backups",
# 1 and 3 that there is no stanza. What cannot be read has others, such as 99.
OK, NO_BACKUP, NO_STANZA = 0, 2, (1, 3)


class Backup(TypedDict):
    """One backup: label, type (full, diff, incr), stop time in seconds since the epoch, bytes.

    `repository` is pgBackRest's number of it. From `first_wal` on pgBackRest keeps WAL. One with
    `damage` has pages that fail their checksum: the database had, when it was taken.
    """

    repository: int
    label: str
    type: str
    stopped: int
    size: int
    first_wal: str
    damage: bool


class Repository(TypedDict):
    """Whether the stanza exists in all repositories, and which PostgreSQL it is for, such as "18".

    Backups of the present database from old to new, in all of them, and its newest archived WAL.
    `unreadable` says what is wrong with a repository of which nothing is known, "" without one.
    """

    stanza: bool
    unreadable: str
    version: str
    message: str
    backups: list[Backup]
    newest_wal: str


class PgbackrestInfo(FactBase[Repository | None]):
    """Return what the repository holds of one stanza, or None where pgBackRest cannot tell.

    + stanza: name of the stanza
    """

    @override
    def requires_command(self, stanza: str) -> str:
        return "pgbackrest"

    @override
    def command(self, stanza: str) -> StringCommand:
        return StringCommand(
            "cd / && runuser -u postgres --"
            " pgbackrest --log-level-console=off --output=json --stanza",
            QuoteString(stanza),
            "info 2>/dev/null || echo null",
        )

    @override
    def process(self, output: list[str]) -> Repository | None:
        answer: list[dict[str, Any]] | None = json.loads("\n".join(output))
        if answer is None:
            return None
        if not answer:
            return Repository(
                stanza=False,
                unreadable="",
                version="",
                message="missing",
                backups=[],
                newest_wal="",
            )
        stanza = answer[0]
        present = _of_the_present_database(stanza)
        archives = [part.get("max") or "" for part in present("archive")]
        versions = {one["id"]: one["version"] for one in stanza.get("db", [])}
        # The stanza's own status is of neither kind where its repositories differ.
        states = [one["status"] for one in stanza.get("repo", [])] or [stanza["status"]]
        unknown = [one for one in states if one["code"] not in (OK, NO_BACKUP, *NO_STANZA)]
        return Repository(
            stanza=all(one["code"] in (OK, NO_BACKUP) for one in states),
            unreadable=unknown[0]["message"] if unknown else "",
            version=versions[max(versions)] if versions else "",
            message=stanza["status"]["message"],
            backups=[
                Backup(
                    repository=(backup.get("database") or {}).get("repo-key", 1),
                    label=backup["label"],
                    type=backup["type"],
                    stopped=backup["timestamp"]["stop"],
                    size=backup["info"]["size"],
                    first_wal=(backup.get("archive") or {}).get("start") or "",
                    damage=bool(backup.get("error")),
                )
                for backup in present("backup")
            ],
            newest_wal=max(archives, default=""),
        )


def _of_the_present_database(stanza: dict[str, Any]) -> Callable[[str], list[dict[str, Any]]]:
    """Return what gives the parts of one kind, without those of databases before a stanza-upgrade.

    Each repository counts its databases by itself.
    """
    newest: dict[int, int] = {}
    for one in stanza.get("db", []):
        number = one.get("repo-key", 1)
        newest[number] = max(one["id"], newest.get(number, 0))

    def is_present(part: dict[str, Any]) -> bool:
        of = part.get("database") or {}
        return "id" not in of or of["id"] == newest.get(of.get("repo-key", 1), of["id"])

    return lambda kind: [part for part in stanza.get(kind, []) if is_present(part)]
