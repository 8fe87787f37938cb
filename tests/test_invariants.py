"""What breaks an invariant, and what does not: by made-up answers of clients."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import answers, invariants
from faults.answers import Fitness, Probe, Reading, Write

NODES = {"node1": "10.0.0.11", "node2": "10.0.0.12", "node3": "10.0.0.13"}
ONE, TWO, THREE = NODES.values()


def write(number: int, at: float, who: str = ONE, timeline: str = "00000001") -> Write:
    return Write(number, at - 0.01, at, "acknowledged", timeline, who)


def failed(number: int, at: float = 0.0) -> Write:
    return Write(number, at - 0.01, at, "failed", error="refused")


def unknown(number: int, at: float = 0.0) -> Write:
    return Write(number, at - 0.01, at, "unknown", error="gone")


def probe(node: str, at: float) -> Probe:
    return Probe(node, at - 0.01, at, "acknowledged")


def test_what_was_acknowledged_is_there_and_what_was_refused_is_not() -> None:
    writes = [write(1, 0.0), failed(2), unknown(3), unknown(4)]
    assert invariants.lost(writes, {1, 3}) == []


def test_a_lost_write_and_one_that_was_refused() -> None:
    found = invariants.lost([write(1, 0.0), failed(2)], {2})
    assert [sentence.split(",")[0] for sentence in found] == ["write 1", "write 2 is there"]
    assert "is lost" in found[0]


@given(st.lists(st.sampled_from(["acknowledged", "failed", "unknown"]), max_size=20))
def test_exactly_the_acknowledged_ones_can_be_lost(outcomes: list[answers.Outcome]) -> None:
    writes = [Write(number, 0.0, 0.0, outcome) for number, outcome in enumerate(outcomes)]
    assert len(invariants.lost(writes, set())) == outcomes.count("acknowledged")


@pytest.mark.parametrize(
    ("apart", "breaches"), [(0.05, 1), (0.2, 0)], ids=["in one window", "one after the other"]
)
def test_two_members_acknowledge(apart: float, breaches: int) -> None:
    writes = [write(1, 1.0), write(2, 1.0 + apart, TWO)]
    assert len(invariants.two_primaries(writes, [], NODES)) == breaches
    probes = [probe("node1", 1.0), probe("node2", 1.0 + apart)]
    assert len(invariants.two_primaries([], probes, NODES)) == breaches
    assert len(invariants.two_primaries(writes[:1], probes[1:], NODES)) == breaches


def test_one_member_acknowledges_to_clients_and_to_probes() -> None:
    assert invariants.two_primaries([write(1, 1.0)], [probe("node1", 1.01)], NODES) == []


def test_an_answer_that_was_held_up_tells_of_the_time_before() -> None:
    writes = [write(number, number / 50, TWO) for number in range(100, 200)]
    late = Probe("node1", 1.0, 3.001, "acknowledged")
    assert invariants.two_primaries(writes, [late], NODES) == []
    # It led, too, if it took a write after the other one had begun to.
    also = Probe("node1", 2.5, 3.001, "acknowledged")
    assert len(invariants.two_primaries(writes, [also], NODES)) == 2
    # And so it did if it answered at once.
    at_once = Probe("node1", 1.95, 2.001, "acknowledged")
    assert len(invariants.two_primaries(writes, [at_once], NODES)) == 2


def test_a_write_lands_on_an_older_timeline() -> None:
    before, after = write(1, 1.0), write(2, 2.0, TWO, "00000002")
    late = write(3, 3.0, ONE, "00000001")
    assert invariants.went_back([before, after]) == []
    assert len(invariants.went_back([before, after, late])) == 1


def test_a_write_that_began_before_the_newer_one_was_acknowledged() -> None:
    slow = Write(3, 1.9, 2.5, "acknowledged", "00000001", ONE)
    assert invariants.went_back([write(2, 2.0, TWO, "00000002"), slow]) == []


def fit(node: str, until: float, since: float = 0.0, is_fit: bool = True) -> list[Fitness]:
    return [Fitness(node, since + step / 2, is_fit) for step in range(int((until - since) * 2) + 1)]


def routed(fitness: Sequence[Fitness], who: str = ONE, at: float = 20.0) -> list[str]:
    return invariants.wrongly_routed([], [Reading(at - 0.1, at, who, True)], fitness, NODES)


def test_the_leader_is_read_from_while_a_replica_is_fit() -> None:
    (sentence,) = routed([*fit("node2", 30), *fit("node3", 30, is_fit=False)])
    assert "node2 had been fit" in sentence


@pytest.mark.parametrize(
    "fitness",
    [
        fit("node2", 30, is_fit=False),
        fit("node2", 30, since=19),
        fit("node2", 15),
        [*fit("node2", 30), *fit("node1", 18)],
        [*fit("node2", 17), *fit("node2", 30, since=19)[:-1], Fitness("node2", 18.0, False)],
    ],
    ids=["none is fit", "fit for a second", "nobody tells", "new primary", "unfit for a moment"],
)
def test_the_leader_may_be_read_from(fitness: list[Fitness]) -> None:
    assert routed(fitness) == []


def test_the_write_port_leads_to_a_replica() -> None:
    read_only = Write(1, 0.0, 0.1, "failed", error="read-only", by_replica=True)
    assert len(invariants.wrongly_routed([read_only], [], [], NODES)) == 1


def segment(timeline: int, number: int) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}-{'a' * 40}.zst"


def test_the_archive_is_whole() -> None:
    files = [segment(1, number) for number in (254, 255, 256)]
    files += [segment(2, 256), segment(2, 257), "00000002.history", "archive.info"]
    files += [f"00000001{0:08X}{2:08X}.partial-{'a' * 40}.zst"]
    assert invariants.gaps(files) == []


def test_an_archive_that_is_younger_than_its_first_timeline_is_whole() -> None:
    files = [segment(4, 9), segment(4, 10), segment(5, 10), "00000005.history"]
    assert invariants.gaps(files) == []
    assert invariants.gaps(files[:-1]) == ["timeline 00000005 has no history file"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "no WAL"),
        ([segment(1, 255), segment(1, 257)], "1 missing before 000000010000000100000001"),
        ([segment(1, 1), segment(2, 4), "00000002.history"], "2 missing before 00000002"),
        ([segment(1, 1), segment(3, 2)], "timeline 00000003 has no history file"),
    ],
)
def test_the_archive_has_a_gap(files: list[str], told: str) -> None:
    (sentence,) = invariants.gaps(files)
    assert told in sentence


def test_how_long_writes_stopped() -> None:
    writes = [write(1, 1.0), write(2, 1.5), failed(3, 2.0), unknown(4, 3.0), write(5, 4.0)]
    assert invariants.outage(writes) == 2.5
    assert invariants.outage([]) == 0.0


def test_answers_are_read_back_as_they_were_told() -> None:
    told: list[answers.Answer] = [write(1, 1.0), probe("node1", 2.0), Reading(1, 2, ONE, True)]
    told.append(Fitness("node1", 1, True))
    lines = [answers.line(answer) + "\n" for answer in told]
    assert answers.read([*lines, '{"kind": "Wri']) == told
