"""The load as a process beside the harness, and what its clients were told."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import psycopg

from faults import answers
from faults.answers import Answer, Write
from faults.load import Plan
from faults.site import Unreachable

ROOT = Path(__file__).resolve().parent.parent
FIRST_WRITE_SECONDS = 60.0
# A client that waits for a server gives up long before.
END_SECONDS = 120.0
READ_BACK_SECONDS = 120.0
TAIL_BYTES = 16384


@dataclass
class Seen:
    """What came of a load; `kept` has the ids that are in the table when all is well again."""

    file: Path
    answers: list[Answer]
    kept: frozenset[int] = frozenset()

    @property
    def writes(self) -> list[Write]:
        return [answer for answer in self.answers if isinstance(answer, Write)]

    def goes_on(self, since: float) -> bool:
        """Say whether a write that began after a time (seconds since the epoch) succeeded."""
        with self.file.open("rb") as lines:
            lines.seek(max(0, self.file.stat().st_size - TAIL_BYTES))
            lines.readline()
            told = answers.read(line.decode() for line in lines)
        return any(
            isinstance(answer, Write) and answer.outcome == "acknowledged" and answer.began > since
            for answer in told
        )


@contextmanager
def load(plan: Plan, file: Path) -> Iterator[Seen]:
    """Let clients write from here to the end of the block, which ends with all being well.

    + file: gets every answer as it comes, for whoever looks on, or later
    """
    seen = Seen(file, [])
    _on_table(plan, f"DROP TABLE IF EXISTS {plan.table}; CREATE TABLE {plan.table} (id bigint)")
    with file.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "faults.load"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=output, text=True,
        )  # fmt: skip
    stdin = cast(IO[str], process.stdin)
    try:
        stdin.write(plan.json() + "\n")
        stdin.flush()
        _wait_for_a_write(seen)
        yield seen
    finally:
        stdin.close()
        process.wait(END_SECONDS)
    with file.open() as lines:
        seen.answers = answers.read(lines)
    rows = _on_table(plan, f"SELECT id FROM {plan.table}")
    seen.kept = frozenset(row[0] for row in rows)
    _on_table(plan, f"DROP TABLE {plan.table}")


def _wait_for_a_write(seen: Seen) -> None:
    deadline = time.monotonic() + FIRST_WRITE_SECONDS
    while not seen.goes_on(since=0.0):
        if time.monotonic() > deadline:
            raise Unreachable(f"no write was acknowledged within {FIRST_WRITE_SECONDS:.0f} s")
        time.sleep(0.2)


def _on_table(plan: Plan, statements: str) -> list[tuple[int]]:
    """Return the rows of the last statement, tried again while a server has just gone."""
    deadline = time.monotonic() + READ_BACK_SECONDS
    while True:
        try:
            with plan.connect(*plan.write) as connection:
                cursor = connection.execute(statements)
                return list(cursor.fetchall()) if cursor.description else []
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise Unreachable(f"the write port does not answer: {error}") from None
            time.sleep(0.5)
