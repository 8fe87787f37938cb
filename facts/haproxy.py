"""Which HAProxy a host has, and what it found when it last asked Patroni of each server."""

import csv
import re

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


class HaproxyVersion(FactBase[tuple[int, int] | None]):
    """Return which HAProxy is installed, as (3, 2); None before there is any."""

    @override
    def command(self) -> StringCommand:
        return StringCommand("haproxy -v 2>/dev/null || true")

    @override
    def process(self, output: list[str]) -> tuple[int, int] | None:
        # HAProxy version 3.2.26-1 2026/10/01, and HA-Proxy version 1.8.27-493ce0b 2020/11/06 once
        found = re.match(r"HA-?Proxy version (\d+)\.(\d+)", output[0]) if output else None
        return (int(found[1]), int(found[2])) if found else None
