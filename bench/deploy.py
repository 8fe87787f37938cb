#!/usr/bin/env python3
"""How long deploys take: the first one beside its floor, the next ones, how that grows; and TLS.

    python bench/deploy.py [--only first again nodelay tls growth] [--pairs 2] [--rounds 5]

Everything is measured in one run, on containers of its own (testbed pgha-bench, removed at the
end), and printed. A run of all parts that reached its end is written to docs/benchmarks.md too.
Nothing is asserted by the clock; but a deploy with nothing to do that changes a host is an error.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # a script finds its own folder only, not the project
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import credentials
from bench import tables, tls
from bench.tables import Figures, Run
from operations.repositories import APT, NO_MAIN_CLUSTER
from platforms import Platform
from testbed.hosts import Host, hosts, secrets_file

ROOT = Path(__file__).resolve().parent.parent
TESTBED = "pgha-bench"
PARTS = ("first", "again", "nodelay", "tls", "growth")
SIZES = (3, 7, 15)
INVENTORY = "inventories/docker.py"
PAGE = ROOT / "docs" / "benchmarks.md"
LAST_LINES = 12  # of a failed command's stderr: pyinfra's reasons stand there


@dataclass(frozen=True)
class Place:
    """A tree of the project, and the testbed that it deploys to."""

    root: Path
    testbed: str


HERE = Place(ROOT, TESTBED)


class BenchError(Exception):
    """What went wrong, in one line, and the last that the failed command said."""

    def __init__(self, message: str, last_words: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.last_words = last_words


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts that were asked for, print what was measured, and remove the containers."""
    options = parser().parse_args(arguments)
    figures = Figures()
    measured = attempt(lambda: measure(figures, options))
    page = tables.page(figures)
    print(page)
    if measured and set(options.only) == set(PARTS):
        PAGE.write_text(page)
    else:
        say(f"not all was measured: {PAGE.name} stays as it is")
    removed = attempt(lambda: containers("down"))
    return 0 if measured and removed else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    described = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    described.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts")
    for name, default, what in (
        ("--pairs", 2, "times that floor and first deploy are measured by turns"),
        ("--rounds", 5, "deploys with nothing to do"),
    ):
        described.add_argument(
            name, type=int, choices=range(1, 21), metavar="1..20", default=default, help=what
        )
    return described


def attempt(work: Callable[[], object]) -> bool:
    """Do the work, and say whether it came to its end; what stopped it is printed."""
    try:
        work()
    except BenchError as error:
        for line in error.last_words:
            print(f"    {line}", file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
    else:
        return True
    return False


# --- what is measured -------------------------------------------------------------------------


def measure(figures: Figures, options: argparse.Namespace) -> None:
    """Measure one part after the other; growth comes last, since it leaves more hosts."""
    if "first" in options.only:
        measure_first(figures, options.pairs)
    else:
        start_anew()
        deploy()
    if "again" in options.only:
        measure_rounds(figures.again, options.rounds)
    if "nodelay" in options.only:
        measure_nodelay(figures, options.rounds)
    if "tls" in options.only:
        measure_tls(figures, options.rounds)
    if "growth" in options.only:
        measure_growth(figures)


def measure_first(figures: Figures, pairs: int) -> None:
    """Measure floor and first deploy by turns, so that a cache that warms up shows."""
    for pair in range(1, pairs + 1):
        start_anew()
        figures.floor.append(floor())
        say(f"the floor, {pair} of {pairs}: {figures.floor[-1]:.1f} s")
        start_anew()
        figures.first.append(deploy().seconds)
        say(f"the first deploy, {pair} of {pairs}: {figures.first[-1]:.1f} s")


def measure_rounds(runs: list[Run], rounds: int, nodes: int = 3) -> None:
    """Measure deploys with nothing to do, after one that only proves it: replicas settle then."""
    deploy_nothing(nodes)
    for _ in range(rounds):
        runs.append(deploy_nothing(nodes))
        say(f"nothing to do on {nodes} database hosts: {runs[-1].seconds:.1f} s")


def measure_nodelay(figures: Figures, rounds: int) -> None:
    """Measure deploys with nothing to do, with and without TCP_NODELAY by turns."""
    for _ in range(rounds):
        for nodelay, runs in figures.nodelay.items():
            runs.append(deploy_nothing(nodelay=nodelay))
            say(f"nothing to do, TCP_NODELAY {nodelay}: {runs[-1].seconds:.2f} s")


def measure_tls(figures: Figures, rounds: int) -> None:
    """Measure pgbench through HAProxy with and without TLS by turns."""
    everybody = hosts(TESTBED)
    members = [host for host in everybody if "postgres" in host.groups]
    proxy = next(host for host in everybody if "haproxy" in host.groups)
    secrets = credentials.read(secrets_file(TESTBED))
    figures.tls |= tls.measure(tls.Pgbench(on, members, proxy, secrets.app), rounds, say)


def measure_growth(figures: Figures) -> None:
    """Measure deploys with nothing to do on a cluster that grows."""
    for nodes in SIZES:
        say(f"the deploy on {nodes} database hosts")
        containers("up", nodes)
        deploy(nodes)
        measure_rounds(figures.growth.setdefault(nodes, []), 3, nodes)


def floor() -> float:
    """Return how long the same packages take by plain shell, on all bare hosts in parallel."""
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(install, hosts(TESTBED)))
    return time.monotonic() - begun


def install(host: Host) -> None:
    """Install a host's packages as an administrator would, without starting what they bring."""
    names = Platform("debian", "", 18).packages(frozenset(host.groups), in_container=True)
    quiet = f"mkdir -p {Path(NO_MAIN_CLUSTER.path).parent}"
    quiet += f" && echo {shlex.quote(NO_MAIN_CLUSTER.content)} > {NO_MAIN_CLUSTER.path}"
    script = f"{quiet}; systemctl -q mask etcd; {APT} apt update"
    script += f" && apt install -y --no-install-recommends {' '.join(names)}"
    run(f"the floor on {host.name}", ["docker", "exec", host.container, "sh", "-c", script])


def deploy(nodes: int = 3, nodelay: bool = False, place: Place = HERE) -> Run:
    """Deploy, and return what that took, sent and changed."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        command = [sys.executable, "-m", "bench.counting", str(counts)]
        command += ["--nodelay"] if nodelay else []
        command += [INVENTORY, "deploy.py", "-y", "--json"]
        begun = time.monotonic()
        output = run(f"the deploy on {nodes} database hosts", command, nodes, place=place)
        took = time.monotonic() - begun
        operations = json.loads(output)["results"]["operations"]
        changes = [", ".join(o["names"]) for o in operations if o["success"]]
        return Run(took, Counter(json.loads(counts.read_text())), changes)


def deploy_nothing(nodes: int = 3, nodelay: bool = False, place: Place = HERE) -> Run:
    """Deploy where nothing is to be done; raises BenchError if that changed a host."""
    done = deploy(nodes, nodelay, place)
    if done.changes:
        raise BenchError(f"a deploy with nothing to do changed a host: {'; '.join(done.changes)}")
    return done


# --- tools ------------------------------------------------------------------------------------


def start_anew() -> None:
    """Start bare containers for three database hosts, whatever is there."""
    say("making the containers anew")
    containers("down")
    containers("up")


def containers(verb: str, nodes: int = 3, place: Place = HERE) -> None:
    """Run a verb of testbed/testbed.py: "up" adds what is missing, "down" removes all."""
    command = [sys.executable, "testbed/testbed.py", verb]
    run(f"testbed.py {verb}", command, nodes, place=place)


def on(host: Host, command: str, stdin: str) -> str:
    """Return what a shell command prints on a host, as root."""
    inside = ["docker", "exec", "-i", host.container, "sh", "-c", command]
    return run(f"a command on {host.name}", inside, stdin=stdin)


def run(
    what: str, command: Sequence[str], nodes: int = 3, stdin: str = "", place: Place = HERE
) -> str:
    """Return what a command prints, run at the root of a tree on its testbed."""
    chosen = {"PGHA_TESTBED": place.testbed, "PGHA_NODES": str(nodes), "PYINFRA_PROGRESS": "off"}
    done = subprocess.run(
        command, cwd=place.root, env={**os.environ, **chosen}, input=stdin,
        capture_output=True, errors="replace",
    )  # fmt: skip
    if done.returncode != 0:
        last_words = done.stderr.strip().splitlines()[-LAST_LINES:]
        raise BenchError(f"{what} ended with exit status {done.returncode}", last_words)
    return done.stdout


def say(what: str) -> None:
    """Print a line of progress."""
    print(f"-- {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
