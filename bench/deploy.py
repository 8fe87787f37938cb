#!/usr/bin/env python3
"""How long deploys take: the floor, the first one, the next ones, and how that grows.

    python bench/deploy.py [--only floor first again growth nodelay] [--rounds 5]

Everything is measured in one run, on containers of its own (testbed pgha-bench, removed at the
end), and written to docs/benchmarks.md as it is printed. Nothing is asserted by the clock.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # a script finds its own folder only, not the project

from operations.packages import APT, NO_MAIN_CLUSTER  # noqa: E402
from platforms import Platform  # noqa: E402
from testbed.hosts import Host, hosts  # noqa: E402

TESTBED = "pgha-bench"
PARTS = ("floor", "first", "again", "growth", "nodelay")
SIZES = (3, 7, 15)
INVENTORY = "inventories/docker.py"


def main() -> None:
    """Measure the parts that were asked for, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    text = [heading()]
    try:
        if "floor" in options.only:
            figures["floor"] = floor()
        if "first" in options.only:
            figures["first"] = first()
        else:
            up(3)
            timed(deploy)
        if {"floor", "first"} & set(options.only):
            text.append(first_table(figures))
        if "again" in options.only:
            text.append(again_table(options.rounds))
        if "nodelay" in options.only:
            text.append(nodelay_table(options.rounds))
        if "growth" in options.only:
            text.append(growth_table())
    finally:  # what was measured before a failure is kept
        page = "\n".join(text)
        (ROOT / "docs" / "benchmarks.md").write_text(page)
        print(page)
        testbed("down", 3)


# --- what is measured -------------------------------------------------------------------------


def floor() -> float:
    """Return how long the same packages take by plain shell, on all bare hosts in parallel."""
    up(3, anew=True)
    say("the floor: the same packages by plain shell")
    with ThreadPoolExecutor() as pool:
        return timed(lambda: list(pool.map(install, hosts(TESTBED, 3))))


def install(host: Host) -> None:
    """Install a host's packages as an administrator would, without starting what they bring."""
    names = Platform("debian", "", 18).packages(frozenset(host.groups), in_container=True)
    quiet = f"mkdir -p {Path(NO_MAIN_CLUSTER.path).parent}"
    quiet += f" && echo {shlex.quote(NO_MAIN_CLUSTER.content)} > {NO_MAIN_CLUSTER.path}"
    script = f"{quiet}; systemctl -q mask etcd; {APT} update"
    script += f" && {APT} install -y --no-install-recommends {' '.join(names)}"
    subprocess.run(
        ["docker", "exec", host.container, "sh", "-c", script], check=True, capture_output=True
    )


def first() -> float:
    """Return how long it takes from bare containers to a cluster with a backup."""
    up(3, anew=True)
    say("the first deploy")
    return timed(deploy)


def deploy(nodes: int = 3, nodelay: bool = False) -> dict[str, int]:
    """Deploy, and return the number of remote commands by host."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        command = [sys.executable, "-m", "bench.counting", str(counts)]
        command += ["--nodelay"] if nodelay else []
        subprocess.run(
            [*command, INVENTORY, "deploy.py", "-y"], cwd=ROOT, check=True,
            env=environment(nodes), capture_output=True,
        )  # fmt: skip
        found: dict[str, int] = json.loads(counts.read_text())
        return found


# --- the tables -------------------------------------------------------------------------------


def heading() -> str:
    """Return where and when this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"""# Benchmarks

Made by `make bench` (bench/deploy.py) on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores,
{memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}, pyinfra
{version("pyinfra")}; hosts are containers on the same machine, reached over SSH as an unprivileged
user with sudo. Seconds of wall clock, all from one run on a machine that others use too: read the
ratios, not the seconds.
"""


def first_table(figures: dict[str, float]) -> str:
    """Return the first deploy beside its floor."""
    lines = ["## The first deploy, five hosts\n", "| what | seconds |", "|---|---|"]
    if "floor" in figures:
        lines.append(f"| floor: the same packages by plain shell | {figures['floor']:.1f} |")
    if "first" in figures:
        lines.append(f"| first deploy, with the first full backup | {figures['first']:.1f} |")
    if len(figures) == 2:
        goal = 1.3 * figures["floor"] + 30
        verdict = "holds" if figures["first"] <= goal else "missed"
        lines.append(f"| goal: 1.3 x floor + 30 s = {goal:.1f} | {verdict} |")
        lines.append(f"| ratio to the floor | {figures['first'] / figures['floor']:.2f} |")
    return "\n".join([*lines, ""])


def again_table(rounds: int) -> str:
    """Return the deploy with nothing to do, and what it sent to each host."""
    say("the deploy with nothing to do")
    counts = deploy()
    took = [timed(deploy) for _ in range(rounds)]
    verdict = "holds" if max(took) <= 8 else "missed"
    lines = [
        "## A deploy with nothing to do, five hosts\n", "| what | figure |", "|---|---|",
        f"| median of {rounds} | {median(took):.1f} s |", f"| slowest | {max(took):.1f} s |",
        f"| goal: at most 8 s | {verdict} |",
    ]  # fmt: skip
    lines += [f"| remote commands on {name} | {counts[name]} |" for name in sorted(counts)]
    return "\n".join([*lines, ""])


def nodelay_table(rounds: int) -> str:
    """Return the same with and without TCP_NODELAY, by turns."""
    say("with and without TCP_NODELAY, by turns")
    took: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for nodelay in (False, True):
            took[nodelay].append(timed(lambda n=nodelay: deploy(nodelay=n)))  # type: ignore[misc]
    rows = [
        f"| {'with' if nodelay else 'without'} | {median(times):.2f} | {max(times):.2f} |"
        for nodelay, times in took.items()
    ]
    return "\n".join(
        [
            "## TCP_NODELAY, a deploy with nothing to do\n",
            f"| TCP_NODELAY | median of {rounds} | slowest |", "|---|---|---|", *rows, "",
        ]
    )  # fmt: skip


def growth_table() -> str:
    """Return the deploy with nothing to do for growing clusters."""
    lines = [
        "## Growth: a deploy with nothing to do\n",
        "| database hosts | median of 3 | seconds per host | commands on node1 | on pgbackrest |",
        "|---|---|---|---|---|",
    ]
    for nodes in SIZES:
        up(nodes)
        say(f"{nodes} database hosts: the deploy that adds them")
        deploy(nodes)
        counts = deploy(nodes)
        took = median(timed(lambda n=nodes: deploy(n)) for _ in range(3))  # type: ignore[misc]
        say(f"{nodes} database hosts: nothing to do takes {took:.1f} s")
        lines.append(
            f"| {nodes} | {took:.1f} s | {took / nodes:.2f} | {counts['node1']} "
            f"| {counts['pgbackrest']} |"
        )
    return "\n".join([*lines, ""])


# --- tools ------------------------------------------------------------------------------------


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds `work` takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def environment(nodes: int) -> dict[str, str]:
    """Return the environment that points everything at this testbed."""
    return {
        **os.environ, "PGHA_TESTBED": TESTBED, "PGHA_NODES": str(nodes), "PYINFRA_PROGRESS": "off",
    }  # fmt: skip


def testbed(verb: str, nodes: int) -> None:
    """Run a verb of testbed/testbed.py."""
    subprocess.run(
        [sys.executable, "testbed/testbed.py", verb], cwd=ROOT, check=True,
        env=environment(nodes), stdout=subprocess.DEVNULL,
    )  # fmt: skip


def up(nodes: int, anew: bool = False) -> None:
    """Start the containers; `anew` makes bare ones."""
    say(f"starting containers for {nodes} database hosts")
    if anew:
        testbed("down", nodes)
    testbed("up", nodes)


def say(what: str) -> None:
    """Print a line of progress."""
    print(f"-- {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
