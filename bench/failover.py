#!/usr/bin/env python3
"""How long writes stop, and how many are lost: every fault many times, as clients see it.

    python bench/failover.py                       # 20 of each fault of the goals: two hours
    python bench/failover.py --only switchover primary-killed --repeats 5
    python bench/failover.py --rounds 100          # faults at random, for hours
    python bench/failover.py --quiet 30 --price    # minutes without a fault; the price of quorum

On containers of its own (testbed pgha-bench, left standing with --keep). Each trial is added to
docs/failover.jsonl when it ends, so that a run that is broken off is not lost; docs/failover.md and
the figures in docs/failure-modes.md are made from all that this file has. A breach of an invariant
stops the run.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

if __name__ == "__main__":  # a script finds its own folder only, not the project
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import failover_page
from bench.deploy import HERE, TESTBED, BenchError, attempt, containers, run, say
from bench.failover_page import GOALS, Record
from bench.price import measure
from faults import archive, catalogue, quiet
from faults.catalogue import FAULTS
from faults.site import Unreachable
from testbed import hands

RECORDS = HERE.root / "docs" / "failover.jsonl"
PAGE = HERE.root / "docs" / "failover.md"
MODES = HERE.root / "docs" / "failure-modes.md"
OUT = HERE.root / "bench" / ".out" / "failover"
DEPLOY = (sys.executable, "-m", "pyinfra", "inventories/docker.py", "deploy.py", "-y")
# As the goal says; in tests the same fault lasts a minute.
ETCD_AWAY_SECONDS = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, and make the page from all that was ever measured."""
    options = parser().parse_args(arguments)
    measured = attempt(lambda: measure_all(options))
    PAGE.write_text(failover_page.page(read()))
    MODES.write_text(failover_page.with_figures(MODES.read_text(), read()))
    say(f"{PAGE.name} and {MODES.name} have what {RECORDS.name} has")
    if not options.keep:
        attempt(lambda: containers("down"))
    return 0 if measured else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    described = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = [*FAULTS, *(goal.kind for goal in GOALS if goal.kind not in FAULTS)]
    described.add_argument("--only", nargs="+", choices=kinds, help="faults, by name")
    described.add_argument("--repeats", type=int, default=20, help="of each fault")
    described.add_argument("--rounds", type=int, help="so many faults at random instead")
    described.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run")
    described.add_argument("--quiet", type=float, help="minutes of load without a fault")
    described.add_argument("--price", action="store_true", help="quorum commits beside async")
    described.add_argument("--keep", action="store_true", help="leave the containers")
    return described


def measure_all(options: argparse.Namespace) -> None:
    """Measure on a cluster that is deployed first; raises BenchError at the first breach."""
    containers("up")
    run("the deploy", [*DEPLOY, *hands.doors(TESTBED)])
    say(f"seed {options.seed}")
    random = Random(options.seed)
    try:
        if options.price:
            keep(Record("price", {"rates": measure(TESTBED, say)}))
        if options.quiet:
            stand_still(options.quiet * 60, random)
        if options.rounds:
            for fault in catalogue.schedule(options.seed, options.rounds):
                one_trial(fault.name, random)
        elif options.only or not (options.price or options.quiet):
            repeat(options.only or [goal.kind for goal in GOALS], options.repeats, random)
    except Unreachable as error:
        raise BenchError(str(error)) from None
    if found := archive.breaches(hands.site(TESTBED)):
        raise BenchError(f"the archive is not whole: {found[0]}")


def repeat(kinds: Sequence[str], times: int, random: Random) -> None:
    """Let each kind of fault happen so many times, by turns; the long one once."""
    for number in range(times):
        for kind in kinds:
            if kind != "etcd-lost" or number == 0:
                one_trial(kind, random)


def one_trial(kind: str, random: Random) -> None:
    """Let a fault happen, and keep what it did."""
    is_pooled = kind == "switchover-pooled"
    fault = FAULTS["switchover" if is_pooled else kind]
    if kind == "etcd-lost":
        fault = replace(fault, hold=ETCD_AWAY_SECONDS)
    port = hands.POOLED if is_pooled else hands.RW
    folder = OUT / f"{time.strftime('%H%M%S')}-{kind}"
    done = hands.tried(TESTBED, fault, random, hands.plan(TESTBED, port), folder)
    keep(Record(kind, asdict(done)))
    say(str(done))
    if not done.is_sound:
        raise BenchError(f"{kind} broke an invariant: {done}", [f"see {folder}"])


def stand_still(seconds: float, random: Random) -> None:
    """Let single processes stand still for a moment, and keep what came of it."""
    seen = quiet.run(hands.site(TESTBED), random, hands.plan(TESTBED), OUT / "quiet", seconds, say)
    keep(Record("quiet", asdict(seen)))
    say(str(seen))
    if seen.breaches:
        raise BenchError(f"without a fault: {seen.breaches[0]}", [f"see {OUT}"])


def keep(record: Record) -> None:
    """Add what was measured to the file at once."""
    with RECORDS.open("a") as lines:
        lines.write(json.dumps(asdict(record)) + "\n")


def read() -> list[Record]:
    """Return all that was measured so far."""
    lines = RECORDS.read_text().splitlines() if RECORDS.exists() else []
    return [Record(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
