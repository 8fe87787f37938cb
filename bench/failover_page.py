"""docs/failover.md: what each fault cost, beside the goals; figures only."""

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any

from bench.tables import section
from faults.catalogue import FAULTS


@dataclass(frozen=True)
class Record:
    """One thing that was measured: a trial's fields under its fault, or another kind's.

    + by: "bench", which had the machine to itself, or "tests"
    """

    kind: str
    told: dict[str, Any]
    day: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")
    by: str = "bench"


Trials = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Goal:
    """What one kind of trial has to reach.

    + figure: the field of a trial that is told as p50, p95 and max
    """

    kind: str
    what: str
    goal: str
    holds: Callable[[Trials], bool]
    figure: str = "outage"


def p95(values: Sequence[float]) -> float:
    """Return the value that 95 of 100 do not exceed."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def _of(trials: Trials, figure: str = "outage") -> list[float]:
    return [one[figure] for one in trials]


def _errors(trials: Trials) -> int:
    return sum(one["failed"] + one["unknown"] for one in trials)


def _stays(trials: Trials) -> bool:
    return all(one["timeline"][0] == one["timeline"][1] for one in trials)


GOALS = (
    Goal("patroni-killed", "kill -9 Patroni", "no failed write, no new timeline",
         lambda t: not _errors(t) and _stays(t)),
    Goal("postmaster-killed", "kill -9 postmaster", "p95 ≤ 5 s, max ≤ 10 s",
         lambda t: p95(_of(t)) <= 5 and max(_of(t)) <= 10),
    Goal("primary-killed", "host killed (etcd's leader elsewhere)", "p50 ≤ 18 s, max ≤ 22 s",
         lambda t: median(_of(t)) <= 18 and max(_of(t)) <= 22),
    Goal("primary-and-etcd-leader-killed", "host killed (etcd's leader on it)", "max ≤ 25 s",
         lambda t: max(_of(t)) <= 25),
    Goal("switchover", "planned switchover, write port", "p95 ≤ 2 s",
         lambda t: p95(_of(t)) <= 2),
    Goal("switchover-pooled", "planned switchover, pooled port, longest wait",
         "0 errors, p95 ≤ 3 s",
         lambda t: not _errors(t) and p95(_of(t, "longest_wait")) <= 3, "longest_wait"),
    Goal("haproxy-host-killed", "HAProxy host killed, virtual IP", "max ≤ 3 s",
         lambda t: max(_of(t)) <= 3),
    Goal("etcd-lost", "all of etcd away for 5 minutes", "0 failed writes",
         lambda t: not _errors(t)),
    Goal("primary-shut-down", "orderly shutdown of the primary's host", "max ≤ 3 s",
         lambda t: max(_of(t)) <= 3),
)  # fmt: skip
WRITES, TRIALS = 360_000, 200


def page(records: Sequence[Record]) -> str:
    """Return the page, without the sections that have no figures yet."""
    kinds = {goal.kind for goal in GOALS} | FAULTS.keys()
    trials = [record for record in records if record.kind in kinds]
    by_kind = {
        kind: [record.told for record in trials if record.kind == kind]
        for kind in dict.fromkeys([goal.kind for goal in GOALS] + list(FAULTS))
    }
    parts = [heading(records)]
    if trials:
        alone = {
            kind: [r.told for r in trials if r.kind == kind and r.by == "bench"] for kind in by_kind
        }
        parts += [goals(alone), every(by_kind), together([record.told for record in trials])]
    parts += [quiet(r.told) for r in records if r.kind == "quiet"]
    parts += [price(r.told["rates"]) for r in records if r.kind == "price"][-1:]
    return "\n".join(parts)


def heading(records: Sequence[Record]) -> str:
    """Return where and when this was measured."""
    days = sorted({record.day for record in records})
    when = " to ".join(dict.fromkeys(days[:1] + days[-1:])) or "which has not run yet"
    linux = ".".join(platform.release().split(".")[:2])
    return f"""# How long writes stop, and what is lost

Made by `make bench-failover` (bench/failover.py), {when}, from
failover.jsonl: {os.cpu_count()} cores for all hosts together (containers on one machine), Linux
{linux}, the default settings. Seconds as two clients see them that write all the time through the
virtual IP: the longest time without an acknowledged write. What an error looks like, and what
the cluster does meanwhile, is in [failure-modes.md](failure-modes.md).
"""


def goals(by_kind: Mapping[str, Trials]) -> str:
    """Return each goal beside what was measured."""
    rows = []
    for goal in GOALS:
        trials = by_kind[goal.kind]
        if trials:
            verdict = "holds" if goal.holds(trials) else "**missed**"
            rows.append((goal.what, *_cells(trials, goal.figure), goal.goal, verdict))
    return section("Goals", ["fault", *HEAD, "goal", ""], rows)


HEAD = ["trials", "p50", "p95", "max", "writes without an answer"]


def _cells(trials: Trials, figure: str = "outage") -> tuple[str, ...]:
    values = _of(trials, figure)
    figures = (median(values), p95(values), max(values))
    return (str(len(trials)), *(f"{value:.1f}" for value in figures), str(_errors(trials)))


def every(by_kind: Mapping[str, Trials]) -> str:
    """Return all faults, and how soon all was well after each."""
    rows = [
        (kind, *_cells(trials), f"{max(_of(trials, 'back')):.0f}")
        for kind, trials in by_kind.items()
        if trials
    ]
    text = section("Every fault", ["fault", *HEAD, "members stream again after, max"], rows)
    return f"{text}\nWith those of `make test-faults`, beside which other tests may have run.\n"


def with_figures(text: str, records: Sequence[Record]) -> str:
    """Return docs/failure-modes.md with median and maximum in each row that has trials."""
    lines = []
    for line in text.splitlines():
        name = line.split("`")[1] if line.startswith("| `") else ""
        found = [record for record in records if record.kind == name]
        alone = [record for record in found if record.by == "bench"]
        values = [record.told["outage"] for record in alone or found]
        cells = line.split("|")
        if values and not re.search("[a-z]", cells[4]):
            cells[4] = f" {median(values):.1f} / {max(values):.1f} "
            line = "|".join(cells)
        lines.append(line)
    return "\n".join(lines) + "\n"


def together(trials: Trials) -> str:
    """Return what all trials together lost."""
    acknowledged = sum(one["acknowledged"] for one in trials)
    broken = [one for one in trials if any(one["breaches"].values())]
    lost = sum(
        "is lost" in sentence
        for one in trials
        for found in one["breaches"].values()
        for sentence in found
    )
    reached = not lost and len(trials) >= TRIALS and acknowledged >= WRITES
    rows = [
        ("faults", str(len(trials)), f"≥ {TRIALS}"),
        ("acknowledged writes", f"{acknowledged:,}", f"≥ {WRITES:,}"),
        ("acknowledged writes that were lost", str(lost), "0"),
        ("trials that broke an invariant", str(len(broken)), "0"),
    ]
    verdict = "holds" if reached else "not reached"
    text = section("All faults together", ["what", "figure", "goal"], rows)
    told = [
        f"- {one['fault']}, {invariant}: {sentence}"
        for one in broken
        for invariant, sentences in one["breaches"].items()
        for sentence in sentences
    ]
    what = ["", "What broke (decisions.md says what was mended since):", "", *told] if told else []
    return "\n".join(
        [text, f"0 lost in {WRITES:,} writes and {TRIALS} faults: {verdict}.", *what, ""]
    )


def quiet(told: dict[str, Any]) -> str:
    """Return what a load without a fault saw."""
    rows = [
        ("minutes", f"{told['seconds'] / 60:.0f}"),
        ("processes that stood still for 3 s", str(told["freezes"])),
        ("acknowledged writes", f"{told['acknowledged']:,}"),
        ("writes without an answer", str(told["unanswered"])),
        ("longest time without an acknowledged write", f"{told['outage']:.1f} s"),
        ("takeovers and lost writes", str(len(told["breaches"]))),
    ]
    return section("Without a fault", ["what", "figure"], rows)


def price(rates: dict[str, dict[str, list[float]]]) -> str:
    """Return the rates of each level of durability, by the number of clients."""
    rows = []
    for clients, by_level in rates.items():
        middle = {level: median(values) for level, values in by_level.items()}
        share = f"{middle['quorum'] / middle['async']:.0%}"
        rows.append((clients, *(f"{middle[level]:.0f}" for level in ("quorum", "async")), share))
    head = ["clients", "quorum", "async", "quorum / async"]
    text = section("The price of quorum commits", head, rows)
    return (
        f"{text}\nTransactions per second of pgbench (tpcb-like) through HAProxy, medians of rounds"
        " by turns.\n"
    )
