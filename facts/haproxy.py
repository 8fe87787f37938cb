"""What HAProxy found when it last asked Patroni of each server."""

import csv

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override


class HaproxyChecks(FactBase[dict[str, list[str]] | None]):
    """Return the outcome of the last check of each server, one for each proxy that has it.

    Such as "L7OK" (what was wanted), "L7STS" (another answer) or "L6RSP" (no TLS).

    + port: of the statistics, on loopback
    """

    @override
    def requires_command(self, port: int) -> str:
        return "curl"

    @override
    def command(self, port: int) -> StringCommand:
        return StringCommand(
            f"curl --silent --fail --max-time 5 'http://127.0.0.1:{port}/;csv' || true; echo end"
        )

    @override
    def process(self, output: list[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row in csv.DictReader([line.removeprefix("# ") for line in output[:-1]]):
            if row["svname"] not in ("FRONTEND", "BACKEND"):
                # One that is just being asked has a star before what it was last time.
                found.setdefault(row["svname"], []).append(row["check_status"].removeprefix("* "))
        return found
