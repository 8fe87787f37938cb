"""How much WAL waits to be archived, and whether pgBackRest may drop any of it."""

import json
import shlex
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

# Past that much waiting WAL pgBackRest says "archived" to PostgreSQL and archives nothing of it.
LIMIT = "archive-push-queue-max"
CONFIGS = (
    "/etc/pgbackrest.conf /etc/pgbackrest/pgbackrest.conf /etc/pgbackrest/conf.d/*.conf"
    " /etc/pgha/pgbackrest-push-*.conf"
)
QUERY = """
SELECT json_build_object(
    'is_primary', NOT pg_is_in_recovery(),
    'bytes', count(*) * pg_size_bytes(current_setting('wal_segment_size')),
    'seconds', coalesce(floor(extract(epoch FROM now() - min(modification))), 0),
    'failing', (SELECT coalesce(last_failed_wal, '') FROM pg_stat_archiver
        WHERE last_failed_time > coalesce(last_archived_time, '-infinity')),
    'command', current_setting('archive_command'))
FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}[.]ready$'
"""


class WaitingWal(TypedDict):
    """What waits on one database host: bytes of WAL, and for how long the oldest of it.

    `failing` is the segment whose last attempt failed, `limits` where pgBackRest is told to drop
    WAL. `bytes` is None where PostgreSQL does not answer.
    """

    is_primary: bool
    bytes: int | None
    seconds: int
    failing: str
    limits: list[str]


class WalQueue(FactBase[WaitingWal | None]):
    """Return what a database host has of WAL that is not archived yet.

    + psql: path of psql
    + port: PostgreSQL's port
    """

    @override
    def command(self, psql: str, port: int) -> StringCommand:
        return StringCommand(
            f"cd / && grep -HsE '^[[:space:]]*{LIMIT}[[:space:]]*=' {CONFIGS};"
            # A server that is frozen takes connections, and never answers.
            " timeout 15 runuser -u postgres --", QuoteString(psql),
            "-XAtq -p", QuoteString(str(port)),
            f"-c {shlex.quote(' '.join(QUERY.split()))} 2>/dev/null || echo null",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> WaitingWal:
        *files, last = output
        limits = [line.partition(":")[0] for line in files if LIMIT in line]
        told: dict[str, Any] | None = json.loads(last)
        if told is None:
            return WaitingWal(is_primary=False, bytes=None, seconds=0, failing="", limits=limits)
        if LIMIT in told["command"]:
            limits.append("archive_command")
        return WaitingWal(
            is_primary=told["is_primary"],
            bytes=told["bytes"],
            seconds=told["seconds"],
            failing=told["failing"] or "",
            limits=limits,
        )
