"""A drill on a cluster, as a user would hold it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import testbed as bed


@pytest.fixture
def reports() -> Iterator[list[Path]]:
    """The reports that a test leaves, filled when it asks; removed at its end."""
    before = set(bed.ROOT.glob("drill-*"))
    found: list[Path] = []
    yield found
    for path in set(bed.ROOT.glob("drill-*")) - before:
        path.unlink()


def drill(*arguments: str) -> bed.Run:
    return bed.pyinfra("day2/drill.py", "-y", "--data", *arguments)


def test_a_crashed_postgresql_is_reported(cluster: None, reports: list[Path]) -> None:
    before = set(bed.ROOT.glob("drill-*"))
    run = drill("fault=postmaster-killed", "--data", "confirm=pgha")
    assert run.code == 0, run.stderr[-4000:]
    pictured, told = sorted(set(bed.ROOT.glob("drill-*")) - before)
    (one,) = json.loads(told.read_text())["drills"]
    assert one["acknowledged"] > 0
    assert one["outage"] > 0.1
    assert not any(one["breaches"].values())
    assert "<svg" in pictured.read_text()
    for name, secret in bed.telltales().items():
        assert secret not in pictured.read_text() + told.read_text() + run.stdout + run.stderr, name
    assert bed.sql(bed.primary(), "SELECT to_regclass('pgha_drill') IS NULL") == "t"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("fault=postmaster-killed", "--data", "confirm=other"), "nothing was done"),
        (("fault=primary-killed", "--data", "confirm=pgha"), "knows no fault"),
        (("confirm=pgha",), "which fault?"),
    ],
)
def test_nothing_happens_by_mistake(
    cluster: None, reports: list[Path], arguments: tuple[str, ...], told: str
) -> None:
    before = bed.members()
    run = drill(*arguments)
    assert run.code == 1
    assert told in run.stderr
    assert "HINT" in run.stderr
    assert bed.members().keys() == before.keys()
    assert bed.healthy()
