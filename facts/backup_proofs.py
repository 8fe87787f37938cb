"""What came of the proofs that the repository host runs by itself."""

import re
from typing import TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

METRIC = re.compile(r'pgha_proof_(\w+)\{stanza="[^"]*",proof="(\w+)"(?:,backup="([^"]+)")?\} (\d+)')


class ProofResult(TypedDict):
    """The last run of one proof; times are in seconds, points in time since the epoch.

    `backup` and `recovered_to` are a rehearsal's: which backup, and up to when its data goes.
    """

    passed: bool
    seconds: int
    finished: int
    backup: str
    recovered_to: int


class ProofResults(FactBase[dict[str, ProofResult] | None]):
    """Return the last result of each proof by its name, from what node_exporter is given.

    A proof that never ran is left out.

    + path: directory of those files
    """

    @override
    def command(self, path: str) -> StringCommand:
        files = "2>/dev/null && cat pgha_proof_*.prom 2>/dev/null; echo end"
        return StringCommand("cd", QuoteString(path), files)

    @override
    def process(self, output: list[str]) -> dict[str, ProofResult]:
        found: dict[str, ProofResult] = {}
        for line in output:
            if not (told := METRIC.fullmatch(line)):
                continue
            what, name, backup, value = told[1], told[2], told[3], int(told[4])
            result = found.setdefault(
                name, ProofResult(passed=False, seconds=0, finished=0, backup="", recovered_to=0)
            )
            if what == "success":
                result["passed"] = value == 1
            elif what == "duration_seconds":
                result["seconds"] = value
            elif what == "finished_timestamp_seconds":
                result["finished"] = value
            elif what == "recovered_to_timestamp_seconds":
                result["backup"], result["recovered_to"] = backup or "", value
        return found
