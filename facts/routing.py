"""What a client gets through HAProxy: which server answers, and whether it takes a write."""

import shlex
from typing import TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from identities import AUTHORITY

# The blueprint's question, and a write that leaves WAL behind and nothing else.
WHO = "select 'answer', host(inet_server_addr()), inet_server_port(), pg_is_in_recovery()"
WRITE = "select 'written', pg_logical_emit_message(true, 'pgha', 'proof')"


class Session(TypedDict):
    """One connection: `address` is "" where none came about; `error` is what psql said last."""

    address: str
    port: int
    in_recovery: bool
    written: bool
    error: str


class RoutedSessions(FactBase[list[Session] | None]):
    """Connect `times` times and return who answered each time; the password comes over stdin.

    + psql: path of psql
    + address: where to connect
    + port: where to connect
    + role: the application's role
    + database: the application's database
    + times: how often
    """

    @override
    def command(
        self, psql: str, address: str, port: int, role: str, database: str, times: int
    ) -> StringCommand:
        return StringCommand(
            "read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=5 PGSSLMODE=verify-full"
            f" PGSSLROOTCERT={AUTHORITY};",
            f"for turn in $(seq {times}); do echo ask; timeout 15",
            QuoteString(psql), "-XAtq -v VERBOSITY=terse -h", QuoteString(address),
            "-p", QuoteString(str(port)), "-U", QuoteString(role), "-d", QuoteString(database),
            "-c", shlex.quote(WHO), "-c", shlex.quote(WRITE), "2>&1; done; echo end",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> list[Session]:
        found: list[Session] = []
        for line in output:
            first, *rest = line.split("|")
            if line == "ask":
                found.append(
                    Session(address="", port=0, in_recovery=False, written=False, error="")
                )
            elif first == "answer":
                found[-1] |= {
                    "address": rest[0],
                    "port": int(rest[1]),
                    "in_recovery": rest[2] == "t",
                }
            elif first == "written":
                found[-1]["written"] = True
            elif line != "end" and not found[-1]["error"]:
                found[-1]["error"] = line.strip()
        return found
