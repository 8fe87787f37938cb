"""The page of failovers: goals beside figures, whatever was measured so far."""

import json
from typing import Any

import pytest

from bench import failover, failover_page
from bench.failover_page import Record


def told(**fields: Any) -> dict[str, Any]:
    return {
        "fault": "switchover", "outage": 1.0, "longest_wait": 1.0, "back": 9.0,
        "acknowledged": 2000, "failed": 0, "unknown": 0,
        "timeline": [1, 1], "breaches": {"no acknowledged write is lost": []},
    } | fields  # fmt: skip


def row(page: str, start: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_nothing_was_measured() -> None:
    assert "not run yet" in failover_page.page([])


def test_a_goal_that_holds_and_one_that_is_missed() -> None:
    records = [Record("haproxy-host-killed", told(outage=n / 10)) for n in range(1, 21)]
    records += [Record("switchover", told(outage=2.5))] * 20
    page = failover_page.page(records)
    assert row(page, "HAProxy host killed") == [
        "HAProxy host killed, virtual IP", "20", "1.1", "1.9", "2.0", "0", "max ≤ 3 s", "holds",
    ]  # fmt: skip
    assert row(page, "planned switchover, write port")[-1] == "**missed**"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("patroni-killed", {"failed": 1}),
        ("patroni-killed", {"timeline": [1, 2]}),
        ("postmaster-killed", {"outage": 11.0}),
        ("primary-killed", {"outage": 19.0}),
        ("primary-and-etcd-leader-killed", {"outage": 25.1}),
        ("switchover", {"outage": 2.1}),
        ("switchover-pooled", {"unknown": 1}),
        ("switchover-pooled", {"longest_wait": 3.1}),
        ("haproxy-host-killed", {"outage": 3.1}),
        ("etcd-lost", {"failed": 1}),
        ("primary-shut-down", {"outage": 3.1}),
    ],
)
def test_each_goal_can_be_missed(kind: str, fields: dict[str, Any]) -> None:
    goal = next(goal for goal in failover_page.GOALS if goal.kind == kind)
    assert goal.holds([told()] * 20)
    assert not goal.holds([told(**fields)] * 20)


def test_enough_writes_and_faults_without_a_loss() -> None:
    records = [Record("switchover", told())] * 200
    assert "faults: holds." in failover_page.page(records)
    assert "faults: not reached." in failover_page.page(records[1:])
    lost = told(breaches={"no acknowledged write is lost": ["write 7, …, is lost"]})
    page = failover_page.page([*records, Record("switchover", lost)])
    assert row(page, "acknowledged writes that were lost")[1] == "1"
    assert "not reached" in page
    assert "- switchover, no acknowledged write is lost: write 7, …, is lost" in page
    assert "What broke" not in failover_page.page(records)


def test_goals_are_held_against_trials_that_had_the_machine_to_themselves() -> None:
    records = [Record("switchover", told(outage=1.5))]
    beside = Record("switchover", told(outage=9.0), by="tests")
    page = failover_page.page([*records, beside])
    assert row(page, "planned switchover, write port")[1:5] == ["1", "1.5", "1.5", "1.5"]
    assert row(page, "switchover")[1] == "2"
    rows = "| `switchover` | a | b | | drill |\n"
    assert "| 1.5 / 1.5 |" in failover_page.with_figures(rows, [*records, beside])
    assert "| 9.0 / 9.0 |" in failover_page.with_figures(rows, [beside])


def test_every_fault_has_a_row_once_it_was_tried() -> None:
    page = failover_page.page([Record("replica-cut", told(back=30.4))])
    assert row(page, "replica-cut")[-1] == "30"
    assert "replica-killed" not in page


def test_the_figures_go_into_the_row_of_their_fault() -> None:
    rows = "| fault | does | sees | figures | |\n| `switchover` | a | b | | drill |\n"
    rows += "| `cut` | a | b | | |"
    records = [Record("switchover", told(outage=n)) for n in (1.0, 2.0, 4.0)]
    filled = failover_page.with_figures(rows, records)
    assert "| `switchover` | a | b | 2.0 / 4.0 | drill |" in filled
    assert "| `cut` | a | b | | |" in filled
    words = rows.replace("| b | | drill", "| b | as long as the fault | drill")
    assert "| b | as long as the fault | drill |" in failover_page.with_figures(words, records)
    assert failover_page.with_figures(filled, records) == filled


def test_other_things_that_were_measured() -> None:
    quiet = {"seconds": 1800, "freezes": 200, "acknowledged": 9, "unanswered": 1, "outage": 3.1,
             "breaches": []}  # fmt: skip
    rates = {"1": {"quorum": [90.0, 80.0, 100.0], "async": [180.0]}}
    page = failover_page.page([Record("quiet", quiet), Record("price", {"rates": rates})])
    assert row(page, "minutes")[1] == "30"
    assert row(page, "1 ") == ["1", "90", "180", "50%"]


def test_what_was_measured_is_read_back(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "RECORDS", tmp_path / "records")
    assert failover.read() == []
    record = Record("switchover", json.loads(json.dumps(told())))
    failover.keep(record)
    failover.keep(record)
    assert failover.read() == [record, record]
