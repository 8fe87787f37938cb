"""Whether WAL written now arrives in the repository, and what pgBackRest says of itself."""

import shlex
from typing import TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

# Two statements: the segment's name is known before the switch ends it.
WRITE = "select pg_walfile_name(pg_logical_emit_message(true, 'pgha', 'proof'))"
SWITCH = "select pg_switch_wal()"


def pgbackrest(repository: int = 1, config: str = "") -> str:
    """Return a call of pgBackRest that asks one repository; the stanza's name follows."""
    by = f"--config={shlex.quote(config)} " if config else ""
    options = f"{by}--repo={repository} --log-level-console=off"
    return f"runuser -u postgres -- pgbackrest {options} --stanza"


class SwitchedWal(FactBase[str | None]):
    """Write a message into the WAL and end its segment, if this is the primary.

    Returns the segment's name; "" on a replica, None where PostgreSQL does not answer.

    + psql: path of psql
    + port: PostgreSQL's port
    """

    @override
    def command(self, psql: str, port: int) -> StringCommand:
        return StringCommand(
            # Where no replica can confirm a commit this one does not wait for it.
            "cd / && export PGOPTIONS='-c synchronous_commit=local' &&"
            # A server that is frozen takes connections, and never answers.
            " { ask() { timeout 15 runuser -u postgres --", QuoteString(psql), "-XAtq -p",
            QuoteString(str(port)), '-c "$1" 2>/dev/null; };',
            'case "$(ask "select pg_is_in_recovery()")" in'
            f" f) ask {shlex.quote(WRITE)} && ask {shlex.quote(SWITCH)} >/dev/null"
            " || echo unknown;; t) echo replica;; *) echo unknown;; esac; }",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> str | None:
        if output[-1] == "unknown":
            return None
        return "" if output[-1] == "replica" else output[-1]


class ArchivedSegment(FactBase[str | None]):
    """Return the file of a WAL segment in the repository, such as "18-1/0000…-3c9b….zst", or None.

    + stanza: name of the stanza
    + segment: name of the segment
    + repository: pgBackRest's number of it
    """

    @override
    def command(self, stanza: str, segment: str, repository: int = 1) -> StringCommand:
        archive, name = shlex.quote(f"archive/{stanza}"), shlex.quote(segment)
        ask = f"{pgbackrest(repository)} {shlex.quote(stanza)} repo-ls"
        return StringCommand(
            f"cd / && for id in $({ask} {archive} | grep -E '^[0-9]+-[0-9]+$'); do"
            f" {ask} {archive}/$id/{shlex.quote(segment[:16])}"
            f" --filter '^'{name}'-[0-9a-f]{{40}}' | sed \"s|^|$id/|\"; done; echo end"
        )

    @override
    def process(self, output: list[str]) -> str | None:
        return next((line for line in output if line != "end"), None)


class Check(TypedDict):
    """Whether pgBackRest's own check passed, and the first error it gave if not."""

    passed: bool
    error: str


class BackupCheck(FactBase[Check | None]):
    """Return what `pgbackrest check` says: it looks at every host, and archives a segment.

    + stanza: name of the stanza
    + seconds: how long it waits for that segment
    """

    @override
    def requires_command(self, stanza: str, seconds: int) -> str:
        return "pgbackrest"

    @override
    def command(self, stanza: str, seconds: int) -> StringCommand:
        return StringCommand(
            "cd / && runuser -u postgres -- pgbackrest --log-level-console=warn"
            " --log-timestamp=n --stanza", QuoteString(stanza),
            f"--archive-timeout={seconds} check 2>&1 && echo passed || echo refused",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Check:
        errors = [line.strip() for line in output if "ERROR: " in line]
        return Check(
            passed=output[-1] == "passed",
            error=errors[0].partition("ERROR: ")[2] if errors else output[0].strip(),
        )
