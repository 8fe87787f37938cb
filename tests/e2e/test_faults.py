"""What holds whatever happens: eight random faults under load, and none of them forgives a breach.

PGHA_SEED repeats a run: the same faults in the same order. With PGHA_FAULTS=every it is every fault
twice (make test-faults), with PGHA_ONLY="fault fault" it is those. What broke an invariant is kept
in testbed/.state/faults: what clients were told, and every host's log. What each fault did is added
to the file PGHA_RECORDS, where there is one, as bench/failover.py keeps it.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.failover_page import Record
from faults import archive, catalogue, quiet
from faults.catalogue import Fault
from faults.trial import Trial
from testbed import hands
from testbed.hosts import STATE
from tests.e2e import deadlines
from tests.e2e import testbed as bed

EVERY = os.environ.get("PGHA_FAULTS") == "every"
ONLY = os.environ.get("PGHA_ONLY", "").split()
SEED = int(os.environ.get("PGHA_SEED", time.time()))
KEPT = STATE / "faults" / str(SEED)
RECORDS = os.environ.get("PGHA_RECORDS")
RANDOM_FAULTS = 8
QUIET_SECONDS = 120.0
INVARIANTS = (
    "no acknowledged write is lost",
    "never two primaries",
    "each port leads where it should",
    "all are back in time",
    "the fault does what is promised",
)


def chosen() -> list[Fault]:
    """Return the faults of this run."""
    if ONLY:
        return [catalogue.FAULTS[name] for name in ONLY]
    if EVERY:
        return catalogue.every_fault(SEED, 2)
    return catalogue.schedule(SEED, RANDOM_FAULTS)


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line at once: all of this takes minutes."""
    plugins = request.config.pluginmanager
    reporter: Any = plugins.get_plugin("terminalreporter")
    capture: Any = plugins.get_plugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)
            reporter.flush()

    return tell


@pytest.fixture(scope="module")
def probed(deployed: bed.Run) -> Iterator[None]:
    """A cluster whose members let this machine in, past HAProxy."""
    bed.deploy(*hands.doors(bed.NAME), "--data", "phases=firewall,patroni")
    yield
    bed.wait_until("a healthy cluster", bed.healthy, deadlines.REJOIN)
    bed.deploy("--data", "phases=firewall,patroni")


@pytest.fixture(scope="module")
def trials(probed: None, told: Callable[[str], None]) -> list[Trial]:
    """What each fault did, one after the other."""
    found, random = [], Random(SEED)
    told(f"seed {SEED}: PGHA_SEED={SEED} repeats this")
    for number, fault in enumerate(chosen(), 1):
        folder = KEPT / f"{number:02}-{fault.name}"
        one = hands.tried(bed.NAME, fault, random, hands.plan(bed.NAME), folder)
        told(f"{number:2}. {one}")
        if RECORDS and fault.name != "etcd-lost":  # which lasts five minutes there
            with Path(RECORDS).open("a") as lines:
                lines.write(json.dumps(asdict(Record(fault.name, asdict(one), by="tests"))) + "\n")
        if not one.is_sound:
            told(f"    kept in {folder}")
        found.append(one)
    return found


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_it_holds_through_every_fault(trials: list[Trial], invariant: str) -> None:
    broken = {
        f"{number}. {one.fault}": one.breaches[invariant]
        for number, one in enumerate(trials, 1)
        if one.breaches[invariant]
    }
    assert not broken, f"PGHA_SEED={SEED}, see {KEPT}"


def test_the_archive_is_whole_after_all_of_them(trials: list[Trial]) -> None:
    assert archive.breaches(bed.SITE) == []


def test_nobody_takes_over_without_a_fault(
    probed: None, told: Callable[[str], None], tmp_path: Path
) -> None:
    seen = quiet.run(bed.SITE, Random(SEED), hands.plan(bed.NAME), tmp_path, QUIET_SECONDS, told)
    told(str(seen))
    assert seen.breaches == []
    assert seen.freezes > 0
