"""The catalogue of faults, a trial's judgement and a drill's report, without hosts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faults import catalogue, report, trial
from faults.answers import Probe, Write
from faults.catalogue import FAULTS
from faults.clients import Seen
from faults.site import Site, Unreachable
from faults.steps import cut, leader_of_etcd, signalled
from faults.trial import Trial


def test_a_seed_repeats_a_schedule_and_no_fault_comes_twice_in_it() -> None:
    names = [fault.name for fault in catalogue.schedule(7, 8)]
    assert names == [fault.name for fault in catalogue.schedule(7, 8)]
    assert len(set(names)) == 8
    assert names != [fault.name for fault in catalogue.schedule(8, 8)]


def test_a_long_schedule_tries_all_before_any_twice() -> None:
    quick = {name for name, fault in FAULTS.items() if not fault.is_slow}
    names = [fault.name for fault in catalogue.schedule(7, 2 * len(quick))]
    assert set(names[: len(quick)]) == set(names[len(quick) :]) == quick


def test_every_fault_comes_twice() -> None:
    names = [fault.name for fault in catalogue.every_fault(7, 2)]
    assert sorted(names) == sorted([*FAULTS, *FAULTS])


def test_every_fault_has_its_row_in_the_docs() -> None:
    page = Path("docs/failure-modes.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert rows.keys() == FAULTS.keys()
    safe = {name for name, line in rows.items() if line.endswith("| drill |")}
    assert safe == {name for name, fault in FAULTS.items() if fault.drill}


class Hands:
    """Notes what is done to hosts; answers come from a table of command and answer."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.done = answers, list[tuple[str, str]]()

    def shell(self, host: str, command: str) -> str:
        self.done.append((host, command))
        for part, answer in self.answers.items():
            if part in command:
                return answer
        raise Unreachable(f"{host} knows no answer")

    def power(self, host: str, verb: str) -> None:
        self.done.append((host, verb))

    def local(self, *command: str) -> None:
        self.done.append(("here", " ".join(command)))


def site(hands: Hands) -> Site:
    nodes = {f"node{i}": f"10.0.0.1{i}" for i in (1, 2, 3)}
    proxies = {"haproxy": "10.0.0.31", "haproxy2": "10.0.0.32"}
    return Site(hands, "pgha", nodes, nodes, proxies, ("pgbackrest", "10.0.0.41"), "10.0.0.30")


def members(**states: str) -> str:
    found = [
        {"name": name, "role": "leader" if state == "running" else "replica", "state": state,
         "timeline": 4}
        for name, state in states.items()
    ]  # fmt: skip
    return json.dumps({"members": found})


def statuses(*leaders: int) -> str:
    return json.dumps(
        [
            {"Endpoint": f"https://10.0.0.1{number}:2379",
             "Status": {"header": {"member_id": number}, "leader": leader}}
            for number, leader in enumerate(leaders, 1)
        ]
    )  # fmt: skip


WELL = {
    "/cluster": members(node1="streaming", node2="running", node3="streaming"),
    "pg_stat_replication": "2",
    "endpoint": statuses(3, 3, 3),
    "haproxy": "active",
}


def test_all_is_well() -> None:
    hands = Hands(**WELL)
    assert site(hands).ailment() == ""
    assert site(hands).is_healthy()
    assert (site(hands).primary(), site(hands).timeline()) == ("node2", 4)
    assert site(hands).etcd_leaders() == {"node3"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"/cluster": members(node1="streaming", node2="running", node3="starting")}, "starting"),
        ({"/cluster": members(node1="streaming", node2="running")}, "knows node1, node2, led by"),
        ({"/cluster": members(node1="a", node2="a", node3="a")}, "led by nobody"),
        ({"/cluster": WELL["/cluster"].replace('"timeline": 4', '"timeline": 3', 1)}, "timeline 3"),
        (
            {"/cluster": WELL["/cluster"].replace("replica", "quorum_standby", 1)},
            "node3 confirms no commits yet",
        ),
        ({"/cluster": ""}, "knows nobody"),
        ({"pg_stat_replication": "1"}, "1 streams from node2"),
        ({"pg_stat_replication": ""}, "nobody streams"),
        ({"endpoint": statuses(3, 3)}, "etcd follows nobody"),
        ({"endpoint": statuses(1, 1)}, "etcd follows nobody"),
        ({"endpoint": statuses(3, 3, 2)}, " and "),
        ({"endpoint": statuses(9, 9, 9)}, "etcd follows nobody"),
        ({"haproxy": ""}, "HAProxy does not run on haproxy"),
    ],
    ids=str,
)
def test_all_is_not_well(change: dict[str, str], told: str) -> None:
    assert told in site(Hands(**WELL | change)).ailment()


def test_a_cut_spares_whoever_is_no_host_of_the_cluster() -> None:
    hands = Hands(nftables="")
    cut(["input"])(site(hands), ["node1"])
    ((host, command),) = hands.done
    assert host == "node1"
    assert "ip saddr { 10.0.0.12, 10.0.0.13, 10.0.0.31, 10.0.0.32, 10.0.0.41 } drop" in command
    assert "daddr" not in command


def test_a_cut_of_ports_leaves_the_others_open() -> None:
    hands = Hands(nftables="")
    cut(ports=(2379, 2380))(site(hands), ["node1"])
    rules = [line for line in hands.done[0][1].splitlines() if "drop" in line]
    assert len(rules) == 4
    assert all("port { 2379, 2380 } drop" in rule for rule in rules)


def test_processes_die_at_once() -> None:
    hands = Hands(kill="")
    signalled("KILL", "1", "2")(site(hands), ["node1"])
    assert hands.done == [("node1", "kill -s KILL 1 2")]


LISTED = json.dumps({"members": [{"name": f"node{i}", "ID": 10 + i} for i in (1, 2, 3)]})


def test_etcds_leader_goes_where_it_should_be() -> None:
    hands = Hands(endpoint=statuses(3, 3, 3), list=LISTED, move="")
    leader_of_etcd(True)(site(hands), ["node1"])
    assert hands.done[-1][0] == "node3"
    assert hands.done[-1][1].endswith("move-leader b")


def test_etcds_leader_stays_where_it_may() -> None:
    hands = Hands(endpoint=statuses(3, 3, 3))
    leader_of_etcd(False)(site(hands), ["node1"])
    assert not any("move-leader" in command for _, command in hands.done)


# --- the judgement of a trial -------------------------------------------------------------------


def judged(fault: str, writes: list[Write], timelines: tuple[int, int] = (1, 1)) -> Trial:
    one = Trial(fault, ["node1"], "", timeline=timelines, struck=2.0, healed=40.0)
    probes = [Probe("node1", write.began, write.ended, "acknowledged") for write in writes]
    seen = Seen(Path(), [*writes, *probes], frozenset(write.id for write in writes))
    trial._judge(one, seen, [], site(Hands()), FAULTS[fault])
    return one


def acknowledged(*times: float) -> list[Write]:
    return [
        Write(number, at - 0.01, at, "acknowledged", "00000001", "10.0.0.11")
        for number, at in enumerate(times)
    ]


def test_a_fault_that_costs_no_write() -> None:
    one = judged("patroni-killed", acknowledged(1, 2, 3))
    assert one.is_sound
    assert (one.outage, one.acknowledged, one.lost) == (1.0, 3, 0)


def test_what_nobody_looked_at_is_not_said_to_hold() -> None:
    one = judged("patroni-killed", acknowledged(1, 2))
    assert "the write port leads to no replica" in one.breaches
    assert "each port leads where it should" not in one.breaches


def test_a_write_fails_that_must_not() -> None:
    one = judged("patroni-killed", [*acknowledged(1), Write(9, 1, 2, "unknown", error="gone")])
    assert "1 are unknown: ['gone']" in one.breaches["the fault does what is promised"][0]


def test_the_timeline_changes_that_must_not() -> None:
    assert not judged("patroni-killed", acknowledged(1, 2), (1, 2)).is_sound
    assert judged("primary-killed", acknowledged(1, 2), (1, 2)).is_sound


def test_writes_go_on_that_must_stop() -> None:
    assert not judged("etcd-and-a-replica-lost", acknowledged(1, 35, 50)).is_sound
    assert judged("etcd-and-a-replica-lost", acknowledged(1, 25, 50)).is_sound


def test_all_are_back_too_late() -> None:
    one = judged("primary-killed", acknowledged(1, 2))
    one.back = trial.BACK_SECONDS + 1
    seen = Seen(Path(), [], frozenset())
    trial._judge(one, seen, [], site(Hands()), FAULTS["primary-killed"])
    assert one.breaches["all are back in time"]


# --- a drill's report -----------------------------------------------------------------------------


def test_the_picture_has_every_write_once() -> None:
    writes = [*acknowledged(*(step / 10 for step in range(600))), Write(999, 20, 21, "failed")]
    shown = report.picture(writes, judged("primary-killed", writes))
    assert sum(column.acknowledged for column in shown.columns) == 600
    assert sum(column.unanswered for column in shown.columns) == 1
    assert len(shown.columns) <= report.COLUMNS + 1


def test_the_report_is_one_file_that_needs_no_other() -> None:
    writes = acknowledged(1, 2, 3)
    one = replace(judged("patroni-killed", writes), primary=("node1", "node1"))
    text = report.html("pgha", [(one, writes)])
    assert "Every promise held." in text
    assert "<svg" in text
    assert not any(word in text for word in ("http:", "https:", "src=", "url("))


def test_what_a_server_said_is_text_in_the_report() -> None:
    writes = acknowledged(1, 2)
    one = replace(judged("switchover", writes), errors=["<script>alert(1)</script>"])
    assert "<script>" not in report.html("pgha", [(one, writes)])


def test_the_report_for_programs_says_whether_all_held() -> None:
    sound = judged("patroni-killed", acknowledged(1, 2))
    broken = judged("patroni-killed", acknowledged(1, 2), (1, 2))
    assert json.loads(report.document("pgha", [sound]))["ok"] is True
    assert json.loads(report.document("pgha", [sound, broken]))["ok"] is False
