"""What was measured, and the page that shows it: as much of it as there is, figures only."""

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from statistics import median

from bench.tls import SSLMODES


@dataclass(frozen=True)
class Run:
    """What one deploy took, what it sent to each host, and the operations that changed a host."""

    seconds: float
    sent: Counter[str]
    changes: list[str]


@dataclass
class Figures:
    """All that was measured so far, in seconds or runs; `growth` by number of database hosts.

    `tls` has transactions per second by load and sslmode.
    """

    floor: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    again: list[Run] = field(default_factory=list)
    nodelay: dict[bool, list[Run]] = field(default_factory=lambda: {False: [], True: []})
    tls: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    growth: dict[int, list[Run]] = field(default_factory=dict)


def page(figures: Figures) -> str:
    """Return docs/benchmarks.md, without the sections that have no figures yet."""
    sections = [heading()]
    if figures.floor:
        sections.append(first_deploy(figures.floor, figures.first))
    if figures.again:
        sections.append(nothing_to_do(figures.again))
    if any(figures.nodelay.values()):
        sections.append(with_and_without_nodelay(figures.nodelay))
    if figures.tls:
        sections.append(price_of_tls(figures.tls))
    if any(figures.growth.values()):
        sections.append(growth(figures.growth))
    return "\n".join(sections)


def heading() -> str:
    """Return where and when this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    linux = ".".join(platform.release().split(".")[:2])
    return f"""# Benchmarks

Made by `make bench` (bench/deploy.py) on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores,
{memory:.0f} GiB, Linux {linux}, Python {platform.python_version()}, pyinfra
{version("pyinfra")}; hosts are containers on the same machine, reached over SSH as an unprivileged
user with sudo. Seconds of wall clock, all from one run. What else the machine does shows in them:
read the ratios, not the seconds.
"""


def first_deploy(floor: list[float], first: list[float]) -> str:
    """Return the first deploys beside their floors, and whether the medians reach the goal."""
    ratios = [b / a for a, b in zip(floor, first, strict=False)]
    pairs = len(floor)
    rows = [
        ("floor: the same packages by plain shell", *cells(floor, pairs, "{:.1f}")),
        ("first deploy, with the first full backup", *cells(first, pairs, "{:.1f}")),
        ("ratio to the floor", *cells(ratios, pairs, "{:.2f}")),
    ]
    head = ["seconds", *(f"pair {i}" for i in range(1, pairs + 1)), "median"]
    text = section("The first deploy, five hosts", head, rows)
    if len(first) == pairs:
        goal = 1.3 * median(floor) + 30
        verdict = "holds" if median(first) <= goal else "missed"
        text += f"\nGoal, for the medians: 1.3 x floor + 30 s = {goal:.1f} s: {verdict}.\n"
    return text


def cells(values: list[float], pairs: int, form: str) -> list[str]:
    """Return a cell for each pair, empty where there is no value yet, and one for the median."""
    missing = [""] * (pairs - len(values))
    middle = form.format(median(values)) if values else ""
    return [*(form.format(value) for value in values), *missing, middle]


def nothing_to_do(runs: list[Run]) -> str:
    """Return the deploy with nothing to do, and what it sent to each host at most."""
    slowest = max(seconds(runs))
    rows = [
        (f"median of {len(runs)}", f"{median(seconds(runs)):.1f} s"),
        ("slowest", f"{slowest:.1f} s"),
        ("goal: at most 8 s", "holds" if slowest <= 8 else "missed"),
    ]
    sent = sent_at_most(runs)
    rows += [(f"commands and file transfers to {name}", str(sent[name])) for name in sorted(sent)]
    return section("A deploy with nothing to do, five hosts", ["what", "figure"], rows)


def with_and_without_nodelay(runs: dict[bool, list[Run]]) -> str:
    """Return the same with and without TCP_NODELAY, taken by turns."""
    rows = [
        ("with" if nodelay else "without", f"{median(took):.2f}", f"{max(took):.2f}")
        for nodelay, found in runs.items()
        if (took := seconds(found))
    ]
    head = ["TCP_NODELAY", f"median of {most(runs)}, seconds", "slowest"]
    return section("TCP_NODELAY, a deploy with nothing to do", head, rows)


def price_of_tls(rates: dict[tuple[str, str], list[float]]) -> str:
    """Return the median rates with and without TLS, and what is left of the rate with it."""
    rows = []
    for load in dict.fromkeys(load for load, _ in rates):
        without, with_it = (median(rates.get((load, mode), [0])) for mode in SSLMODES)
        share = f"{with_it / without:.0%}" if without else ""
        rows.append((load, f"{without:.0f}", f"{with_it:.0f}", share))
    head = ["pgbench through HAProxy, 4 clients, each second"]
    head += [f"sslmode={mode}" for mode in SSLMODES] + ["with TLS / without"]
    text = section("The price of TLS", head, rows)
    note = "Medians of rounds by turns; pgbench, HAProxy and all members are on this machine."
    return f"{text}\n{note}\n"


def beside(runs: dict[str, list[Run]]) -> str:
    """Return the deploy with nothing to do of two trees, taken by turns, and their ratio."""
    (before, first), (after, second) = runs.items()
    rows = [
        ("median, seconds", *(f"{median(seconds(found)):.2f}" for found in (first, second))),
        ("slowest, seconds", *(f"{max(seconds(found)):.2f}" for found in (first, second))),
    ]
    old, new = sent_at_most(first), sent_at_most(second)
    rows += [
        (f"commands and file transfers to {name}", str(old[name]), str(new[name]))
        for name in sorted(old | new)
    ]
    text = section("A deploy with nothing to do, five hosts", ["what", before, after], rows)
    ratio = median(seconds(second)) / median(seconds(first))
    return f"{text}\nMedians of {most(runs)} rounds by turns; {after} / {before} = {ratio:.2f}.\n"


def growth(runs: dict[int, list[Run]]) -> str:
    """Return the deploy with nothing to do as the cluster grows, and how its time grows."""
    medians = {nodes: median(seconds(found)) for nodes, found in runs.items() if found}
    rows = []
    for nodes, took in medians.items():
        most_sent = sent_at_most(runs[nodes])
        sent = [str(most_sent[name]) for name in ("node1", "pgbackrest")]
        rows.append((str(nodes), f"{took:.1f} s", f"{took / nodes:.2f}", *sent))
    head = ["database hosts", f"median of {most(runs)}", "seconds per database host"]
    head += ["commands and file transfers to node1", "to pgbackrest"]
    text = section("Growth: a deploy with nothing to do", head, rows)
    if len(medians) > 1:
        per_host = [took / nodes for nodes, took in medians.items()]
        falls = all(later < earlier for earlier, later in pairwise(per_host))
        text += (
            f"\nSeconds per database host {'fall' if falls else 'do not fall'} from row to row:"
            f" time {'grows' if falls else 'does not grow'} less than linearly.\n"
        )
    return text


def seconds(runs: list[Run]) -> list[float]:
    """Return how long each run took."""
    return [run.seconds for run in runs]


def sent_at_most(runs: list[Run]) -> Counter[str]:
    """Return the most that any of the runs sent to each host."""
    sent: Counter[str] = Counter()
    for run in runs:
        sent |= run.sent
    return sent


def most(runs: Mapping[bool, list[Run]] | Mapping[int, list[Run]] | Mapping[str, list[Run]]) -> int:
    """Return the number of rounds; a row that a failure cut short has fewer."""
    return max(map(len, runs.values()))


def section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a heading and a table below it, in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {title}\n\n{table}\n"
