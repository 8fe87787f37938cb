"""Whether a replica could begin to stream right now, with the password that Patroni gave it."""

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from identities import AUTHORITY


class ReplicationLogin(FactBase[bool]):
    """Return whether a new replication connection to the primary comes about; it takes no slot.

    + psql: path of psql
    + passfile: the password file that Patroni keeps for PostgreSQL
    + address: the primary's
    + port: PostgreSQL's port
    """

    @staticmethod
    def default() -> bool:
        return False

    @override
    def command(self, psql: str, passfile: str, address: str, port: int) -> StringCommand:
        target = (
            f"host={address} port={port} user=replicator replication=true connect_timeout=5"
            f" sslmode=verify-full sslrootcert={AUTHORITY}"
        )
        return StringCommand(
            "cd / && runuser -u postgres -- env", QuoteString(f"PGPASSFILE={passfile}"),
            QuoteString(psql), "-XAtqw -d", QuoteString(target),
            "-c IDENTIFY_SYSTEM >/dev/null 2>&1 && echo yes || echo no",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> bool:
        return output[-1] == "yes"
