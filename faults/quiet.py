"""Load without a fault: single processes stand still for a moment, and nobody may take over."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from faults import clients, invariants
from faults.answers import Probe
from faults.load import Plan
from faults.site import Site
from faults.steps import PATRONI, POSTMASTER, main_process, wait_until

FREEZE_SECONDS = 3.0


@dataclass
class Quiet:
    """What such a load saw; breaches are sentences."""

    seconds: float
    freezes: int
    acknowledged: int
    unanswered: int
    outage: float
    breaches: list[str]

    def __str__(self) -> str:
        """Return it in one line."""
        return (
            f"{self.freezes} processes stood still in {self.seconds:.0f} s:"
            f" {self.acknowledged} writes acknowledged, {self.unanswered} not,"
            f" the longest pause {self.outage:.1f} s, {len(self.breaches)} breaches"
        )


def run(
    site: Site,
    random: Random,
    plan: Plan,
    folder: Path,
    seconds: float,
    tell: Callable[[str], None],
) -> Quiet:
    """Let processes stand still one after the other for so long, each when all is well."""
    folder.mkdir(parents=True, exist_ok=True)
    wait_until("a healthy cluster", site.is_healthy)
    before, began, count = (site.primary(), site.timeline()), time.monotonic(), 0
    with clients.load(plan, folder / "answers.jsonl") as seen:
        while time.monotonic() - began < seconds:
            host, process = random.choice(_processes(site))
            tell(f"{process} of {host} stands still")
            _freeze(site, host, process)
            count += 1
        after = (site.primary(), site.timeline())
    probes = [answer for answer in seen.answers if isinstance(answer, Probe)]
    breaches = [
        *invariants.lost(seen.writes, seen.kept),
        *invariants.two_primaries(seen.writes, probes, site.nodes),
    ]
    if before != after:
        breaches.append(f"the lead went from {before} to {after} (member, timeline)")
    acknowledged = sum(write.outcome == "acknowledged" for write in seen.writes)
    return Quiet(
        time.monotonic() - began, count, acknowledged, len(seen.writes) - acknowledged,
        invariants.outage(seen.writes), breaches,
    )  # fmt: skip


def _processes(site: Site) -> list[tuple[str, str]]:
    kinds = (PATRONI, POSTMASTER, main_process("etcd"))
    on_nodes = [(node, process) for node in site.nodes for process in kinds]
    return [*on_nodes, (site.holder(), main_process("haproxy"))]


def _freeze(site: Site, host: str, process: str) -> None:
    # One command: whatever becomes of this one, the process goes on.
    site.hands.shell(
        host, f"id={process}; kill -s STOP $id; sleep {FREEZE_SECONDS}; kill -s CONT $id"
    )
    wait_until("a healthy cluster", site.is_healthy)
