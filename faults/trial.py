"""One fault under load, from a healthy cluster to a healthy cluster, and what it cost."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from faults import clients, invariants
from faults.answers import Fitness, Probe, Reading
from faults.catalogue import Fault
from faults.clients import Seen
from faults.load import Plan
from faults.site import Site
from faults.steps import HEALTHY_SECONDS, wait_until

# Unattended, with pg_rewind or a copy from the repository where that is needed (invariant 4).
BACK_SECONDS = 45.0
# Before the end of a fault in which nobody may lead, nobody has acknowledged for so long.
STOPPED_SECONDS = 10.0

LOST = "no acknowledged write is lost"

Watch = Callable[[list[Fitness]], AbstractContextManager[None]]


@dataclass
class Trial:
    """What one fault did; times in seconds, breaches by the invariant that was broken.

    + began: the load, as UTC
    + struck, healed: when the fault began and ended, in seconds since the epoch
    + outage: the longest time without an acknowledged write
    + back: until all members streamed, since the fault had ended; ailment is what was wrong last
    + well: until all was well, etcd and HAProxy too
    """

    fault: str
    targets: list[str]
    began: str
    primary: tuple[str, str] = ("", "")
    timeline: tuple[int, int] = (0, 0)
    struck: float = 0.0
    healed: float = 0.0
    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    outage: float = 0.0
    longest_wait: float = 0.0
    back: float = 0.0
    ailment: str = ""
    well: float = 0.0
    errors: list[str] = field(default_factory=list)
    breaches: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Return how many acknowledged writes are not in the database."""
        return sum("is lost" in found for found in self.breaches[LOST])

    @property
    def is_sound(self) -> bool:
        """Say whether every invariant held."""
        return not any(self.breaches.values())

    def __str__(self) -> str:
        """Return the trial in one line."""
        moved = " -> ".join(dict.fromkeys(self.primary))
        broken = "; ".join(found[0] for found in self.breaches.values() if found)
        return (
            f"{self.fault} on {', '.join(self.targets)}: writes stopped for {self.outage:.1f} s,"
            f" {self.acknowledged} acknowledged, {self.failed} failed, {self.unknown} unknown,"
            f" primary {moved}, all stream {self.back:.1f} s and all is well {self.well:.1f} s on"
            + (f"; BROKEN: {broken}" if broken else "")
        )


def run(
    site: Site, fault: Fault, random: Random, plan: Plan, folder: Path, watch: Watch
) -> tuple[Trial, Seen]:
    """Return what a fault did, and what clients saw.

    Raises Unreachable when all is not well within five minutes.

    + plan: of the load; its probes are the evidence of two primaries
    + folder: where everything that clients were told is kept
    + watch: collects which member is fit to be read from
    """
    folder.mkdir(parents=True, exist_ok=True)
    wait_until("a healthy cluster before the fault", site.is_healthy)
    targets = fault.choose(site, random)
    fault.prepare(site, targets)
    trial = Trial(fault.name, targets, f"{datetime.now(UTC):%F %T}")
    before, timeline = site.primary(), site.timeline()
    fitness: list[Fitness] = []
    with clients.load(plan, folder / "answers.jsonl") as seen, watch(fitness):
        trial.struck = time.time()
        try:
            fault.strike(site, targets)
            _hold(site, fault, before)
        finally:
            trial.healed = time.time()
            fault.heal(site, targets)
        _wait_for_all(site, seen, trial)
        trial.primary, trial.timeline = (before, site.primary()), (timeline, site.timeline())
    fault.tidy(site, targets)
    _judge(trial, seen, fitness, site, fault)
    (folder / "trial.json").write_text(json.dumps(asdict(trial), indent=2))
    return trial, seen


def _hold(site: Site, fault: Fault, before: str) -> None:
    """Let the fault last as long as it should, and until it has done what it does."""
    time.sleep(fault.hold)
    if fault.moves:
        wait_until("another primary", lambda: site.primary() not in ("", before), HEALTHY_SECONDS)


def _wait_for_all(site: Site, seen: Seen, trial: Trial) -> None:
    """Wait until all members stream, then until all is well and writes go on."""
    mended = time.time()

    def is_back() -> bool:
        ailment = site.replication_ailment()
        trial.ailment = ailment or trial.ailment
        return not ailment

    trial.back = wait_until("a primary and streaming replicas after the fault", is_back)
    trial.well = trial.back + wait_until(
        "a healthy cluster after the fault",
        lambda: site.is_healthy() and seen.goes_on(mended),
    )


def _judge(trial: Trial, seen: Seen, fitness: list[Fitness], site: Site, fault: Fault) -> None:
    writes = seen.writes
    probes = [answer for answer in seen.answers if isinstance(answer, Probe)]
    readings = [answer for answer in seen.answers if isinstance(answer, Reading)]
    for outcome in ("acknowledged", "failed", "unknown"):
        setattr(trial, outcome, sum(write.outcome == outcome for write in writes))
    trial.errors = sorted({write.error for write in writes if write.error})
    trial.outage = invariants.outage(writes)
    trial.longest_wait = invariants.longest_wait(writes)
    # Without anybody's word on who is fit, the read port cannot be judged.
    routed = "each port leads where it should" if fitness else "the write port leads to no replica"
    trial.breaches = {
        LOST: invariants.lost(writes, seen.kept),
        "never two primaries": [
            *invariants.two_primaries(writes, probes, site.nodes),
            *invariants.went_back(writes),
        ],
        routed: invariants.wrongly_routed(writes, readings, fitness, site.nodes),
        "all are back in time": []
        if trial.back <= BACK_SECONDS
        else [f"{trial.back:.1f} s after the fault had ended: {trial.ailment}"],
        "the fault does what is promised": _promised(trial, seen, fault),
    }


def _promised(trial: Trial, seen: Seen, fault: Fault) -> list[str]:
    if fault.promise == "no write fails":
        found = [f"{trial.failed} writes failed and {trial.unknown} are unknown: {trial.errors}"]
        moved = [f"the timeline went from {trial.timeline[0]} to {trial.timeline[1]}"]
        return found * bool(trial.failed or trial.unknown) + moved * (
            trial.timeline[0] != trial.timeline[1]
        )
    if fault.promise == "writes stop":
        late = [
            f"{answer.node} still acknowledged a write {trial.healed - answer.ended:.1f} s before"
            for answer in seen.answers
            if isinstance(answer, Probe)
            and answer.outcome == "acknowledged"
            and trial.healed - STOPPED_SECONDS < answer.ended < trial.healed
        ]
        return late[:1]
    return []
