"""What the repository holds."""

import json
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

# Status codes of `pgbackrest info`: 0 is ok, 2 means "no valid backups" (its command reference).
OK, NO_BACKUP = 0, 2


class Backup(TypedDict):
    """One backup: label, type (full, diff, incr), stop time in seconds since the epoch, bytes.

    `repository` is 1 unless others are set beside it. From `first_wal` on pgBackRest keeps WAL.
    """

    repository: int
    label: str
    type: str
    stopped: int
    size: int
    first_wal: str


class Repository(TypedDict):
    """Whether the stanza exists there, its backups from old to new, the newest archived WAL."""

    stanza: bool
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
            return Repository(stanza=False, message="missing", backups=[], newest_wal="")
        status = answer[0]["status"]
        archives = [part.get("max") or "" for part in answer[0].get("archive", [])]
        return Repository(
            stanza=status["code"] in (OK, NO_BACKUP),
            message=status["message"],
            backups=[
                Backup(
                    repository=(backup.get("database") or {}).get("repo-key", 1),
                    label=backup["label"],
                    type=backup["type"],
                    stopped=backup["timestamp"]["stop"],
                    size=backup["info"]["size"],
                    first_wal=(backup.get("archive") or {}).get("start") or "",
                )
                for backup in answer[0].get("backup", [])
            ],
            newest_wal=max(archives, default=""),
        )
