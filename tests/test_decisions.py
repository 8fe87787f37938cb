"""May we proceed? By example, and by any cluster at all."""

from collections.abc import Iterator, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions import (
    EtcdLocal,
    EtcdMember,
    PatroniMember,
    Refusal,
    etcd_start,
    handover,
    leader,
    next_restart,
    switchover_candidate,
    would_lose_quorum,
)

# --- etcd -------------------------------------------------------------------------------------

BARE = EtcdLocal(has_data=False, formed=False)
STARTING = EtcdLocal(has_data=True, formed=False)
MEMBER = EtcdLocal(has_data=True, formed=True)
WIPED_AFTER = EtcdLocal(has_data=False, formed=True)
LISTED = [EtcdMember(f"{i}", f"node{i}", f"https://10.0.0.1{i}:2380") for i in (1, 2, 3)]

# situation: (node1, the others, what the cluster lists, the answer)
STARTS = {
    "all_bare": (BARE, [BARE, BARE], None, "first start"),
    "killed_half_way_and_here_is_bare": (BARE, [STARTING, BARE], None, "first start"),
    "killed_half_way_and_here_is_data": (STARTING, [BARE, BARE], None, "keep"),
    "nothing_to_do": (MEMBER, [MEMBER, MEMBER], LISTED, "keep"),
    "whole_cluster_is_down": (MEMBER, [MEMBER, MEMBER], None, "keep"),
    "disk_replaced": (BARE, [MEMBER, MEMBER], LISTED, "join"),
    "data_directory_wiped": (WIPED_AFTER, [MEMBER, MEMBER], LISTED, "join"),
    "new_host": (BARE, [MEMBER, MEMBER], LISTED[1:], "join"),
    "a_cluster_of_nobody_is_still_an_answer": (BARE, [MEMBER, MEMBER], [], "join"),
    "data_kept_though_the_others_are_wiped": (MEMBER, [BARE, BARE], None, "keep"),
}

# situation: (node1, the others)
LOST = {
    "disk_replaced_and_no_quorum": (BARE, [MEMBER, MEMBER]),
    "one_other_had_formed": (BARE, [BARE, MEMBER]),
    "only_this_one_had_formed": (WIPED_AFTER, [BARE, BARE]),
    "others_wiped_too": (WIPED_AFTER, [WIPED_AFTER, WIPED_AFTER]),
}


@pytest.mark.parametrize(("here", "others", "listed", "answer"), STARTS.values(), ids=STARTS)
def test_etcd_start(
    here: EtcdLocal, others: list[EtcdLocal], listed: list[EtcdMember] | None, answer: str
) -> None:
    assert etcd_start("node1", _local(here, others), listed) == answer


@pytest.mark.parametrize(("here", "others"), LOST.values(), ids=LOST)
def test_etcd_start_refuses(here: EtcdLocal, others: list[EtcdLocal]) -> None:
    with pytest.raises(Refusal, match=r"node1 has no etcd data.*\n    HINT: start the other"):
        etcd_start("node1", _local(here, others), None)


@pytest.mark.parametrize("here", [BARE, STARTING, MEMBER, WIPED_AFTER])
@pytest.mark.parametrize("listed", [None, LISTED], ids=["silent", "answers"])
def test_an_empty_member_never_starts_a_cluster_anew_where_one_was(
    here: EtcdLocal, listed: list[EtcdMember] | None
) -> None:
    for others in product([BARE, STARTING, MEMBER, WIPED_AFTER], repeat=2):
        local = _local(here, list(others))
        try:
            answer = etcd_start("node1", local, listed)
        except Refusal:
            answer = None
        assert (answer == "keep") == here.has_data
        if answer == "first start":
            assert listed is None
            assert not any(state.formed for state in local.values())


def _local(here: EtcdLocal, others: list[EtcdLocal]) -> dict[str, EtcdLocal]:
    return {"node1": here, "node2": others[0], "node3": others[1]}


# (members, healthy, stopping, whether the quorum is lost)
QUORUMS = [
    (1, 1, 1, False),  # nothing to keep
    (3, 3, 1, False),
    (3, 2, 1, True),
    (3, 1, 1, True),
    (3, 3, 2, True),
    (5, 5, 1, False),
    (5, 4, 1, False),
    (5, 3, 1, True),
    (5, 5, 2, False),
    (7, 4, 1, True),
    (7, 5, 1, False),
]


@pytest.mark.parametrize(("members", "healthy", "stopping", "lost"), QUORUMS)
def test_would_lose_quorum(members: int, healthy: int, stopping: int, lost: bool) -> None:
    assert would_lose_quorum(members, healthy, stopping) is lost


@given(st.integers(2, 9), st.data())
def test_what_may_be_stopped_leaves_a_majority(members: int, data: st.DataObject) -> None:
    healthy = data.draw(st.integers(0, members))
    stopping = data.draw(st.integers(0, healthy))
    assert would_lose_quorum(members, healthy, stopping) == (2 * (healthy - stopping) <= members)


# --- Patroni ----------------------------------------------------------------------------------


def primary(name: str, *, pending: bool = False, state: str = "running") -> PatroniMember:
    return PatroniMember(name, "leader", state, 1, None, pending)


def replica(
    name: str, *, pending: bool = False, state: str = "streaming", lag: int | None = 0
) -> PatroniMember:
    return PatroniMember(name, "replica", state, 1, lag, pending)


ALL = ("node1", "node2", "node3")

# situation: (members, within, the step)
STEPS: dict[str, tuple[list[PatroniMember], Sequence[str], tuple[str, str] | None]] = {
    "nothing_pending": ([primary("node1"), replica("node2"), replica("node3")], ALL, None),
    "a_replica": (
        [primary("node1"), replica("node2"), replica("node3", pending=True)],
        ALL,
        ("restart", "node3"),
    ),
    "replicas_before_the_primary": (
        [primary("node1", pending=True), replica("node2", pending=True), replica("node3")],
        ALL,
        ("restart", "node2"),
    ),
    "the_primary_last": (
        [primary("node1", pending=True), replica("node2"), replica("node3")],
        ALL,
        ("switchover", "node1"),
    ),
    "alone_in_the_cluster": ([primary("node1", pending=True)], ALL, ("restart", "node1")),
    "only_hosts_of_this_run": (
        [primary("node1", pending=True), replica("node2", pending=True), replica("node3")],
        ("node1",),
        ("switchover", "node1"),
    ),
    "pending_outside_this_run": (
        [primary("node1"), replica("node2", pending=True), replica("node3")],
        ("node1",),
        None,
    ),
    "a_sick_replica_may_be_restarted_itself": (
        [primary("node1"), replica("node2", pending=True, state="start failed")],
        ALL,
        ("restart", "node2"),
    ),
    "nothing_pending_though_one_is_sick": (
        [primary("node1"), replica("node2", state="stopped")],
        ALL,
        None,
    ),
    "a_standby_cluster": (
        [
            PatroniMember("node1", "standby_leader", "running", 1, None, True),
            replica("node2"),
        ],
        ALL,
        ("switchover", "node1"),
    ),
    "a_lowered_parameter_starts_with_the_primary_in_place": (
        [
            PatroniMember("node1", "leader", "running", 1, None, True, True, False),
            PatroniMember("node2", "replica", "streaming", 1, 0, True, True, True),
        ],
        ALL,
        ("restart", "node1"),
    ),
    "replicas_with_more_than_a_lowered_parameter_come_before": (
        [
            PatroniMember("node1", "leader", "running", 1, None, True, True, False),
            PatroniMember("node2", "replica", "streaming", 1, 0, True, True, False),
        ],
        ALL,
        ("restart", "node2"),
    ),
    "a_lowered_parameter_follows_the_primary": (
        [primary("node1"), PatroniMember("node2", "replica", "streaming", 1, 0, True, True, True)],
        ALL,
        ("restart", "node2"),
    ),
}

# situation: (members, the sick one)
REFUSED_STEPS = {
    "another_replica_is_down": (
        [primary("node1"), replica("node2", pending=True), replica("node3", state="stopped")],
        "node3",
    ),
    "another_replica_does_not_stream_yet": (
        [primary("node1"), replica("node2", pending=True), replica("node3", state="running")],
        "node3",
    ),
    "the_primary_is_starting": (
        [primary("node1", state="starting"), replica("node2", pending=True)],
        "node1",
    ),
    "no_replica_to_switch_to": (
        [primary("node1", pending=True), replica("node2", state="starting")],
        "node2",
    ),
}


@pytest.mark.parametrize(("members", "within", "step"), STEPS.values(), ids=STEPS)
def test_next_restart(
    members: list[PatroniMember], within: Sequence[str], step: tuple[str, str] | None
) -> None:
    for order in (members, members[::-1]):
        found = next_restart(order, within)
        assert (found and (found[0], found[1].name)) == step


@pytest.mark.parametrize(("members", "sick"), REFUSED_STEPS.values(), ids=REFUSED_STEPS)
def test_next_restart_refuses(members: list[PatroniMember], sick: str) -> None:
    with pytest.raises(Refusal, match=rf"{sick} is not healthy.*\n    HINT: bring {sick} back"):
        next_restart(members, ALL)


def test_next_restart_refuses_to_lower_a_replica_before_its_primary() -> None:
    members = [
        PatroniMember("node1", "leader", "running", 1, None, True, True, False),
        PatroniMember("node2", "replica", "streaming", 1, 0, True, True, True),
    ]
    with pytest.raises(Refusal, match=r"node2 can lower .* only after node1(.|\n)*--limit"):
        next_restart(members, ["node2"])


def _replicas() -> Iterator[PatroniMember]:
    yield replica("node2", lag=700)
    yield replica("node3", lag=40)
    yield replica("node4", lag=0, state="running")
    yield replica("node5", lag=None)
    yield primary("node1")


def test_switchover_candidate_is_the_nearest_that_streams() -> None:
    assert switchover_candidate(list(_replicas())).name == "node3"


@pytest.mark.parametrize("role", ["quorum_standby", "sync_standby"])
def test_switchover_candidate_confirms_commits_where_any_does(role: str) -> None:
    confirming = PatroniMember("node2", role, "streaming", 1, 9)
    members = [primary("node1"), confirming, replica("node3", lag=0)]
    assert switchover_candidate(members) == confirming


@pytest.mark.parametrize(
    "members",
    [
        [primary("node1")],
        [primary("node1"), replica("node2", state="running")],
        [primary("node1"), replica("node2", lag=None)],
    ],
    ids=["alone", "none_streams", "lag_unknown"],
)
def test_switchover_candidate_refuses(members: list[PatroniMember]) -> None:
    with pytest.raises(Refusal, match="no replica is fit"):
        switchover_candidate(members)


CONFIRMING = PatroniMember("node3", "quorum_standby", "streaming", 1, 0)


@pytest.mark.parametrize(
    ("members", "candidate", "new"),
    [
        ([primary("node1"), replica("node2", lag=9), replica("node3")], None, "node3"),
        ([primary("node1"), replica("node2", lag=9), replica("node3")], "node2", "node2"),
        ([primary("node1"), replica("node2"), CONFIRMING], None, "node3"),
        ([primary("node1"), replica("node2", lag=16 << 20)], None, "node2"),
        ([primary("node1"), replica("node2", pending=True)], None, "node2"),
    ],
    ids=["nearest", "wished_for", "confirms", "lags_as_allowed", "waits_for_a_restart"],
)
def test_handover(members: list[PatroniMember], candidate: str | None, new: str) -> None:
    assert [m.name for m in handover(members, candidate, 16)] == ["node1", new]


@pytest.mark.parametrize(
    ("members", "candidate", "why"),
    [
        ([], None, "nobody leads"),
        ([replica("node1"), replica("node2")], None, "nobody leads"),
        ([primary("node1", state="stopping"), replica("node2")], None, "nobody leads"),
        ([primary("node1")], None, "no replica is fit"),
        ([primary("node1"), replica("node2"), replica("node3", state="stopped")], "node2",
         "node3 does not stream: two would be away"),
        ([primary("node1"), replica("node2")], "node9", "there is no member node9"),
        ([primary("node1"), replica("node2")], "node1", "node1 is the primary already"),
        ([primary("node1"), replica("node2"), CONFIRMING], "node2",
         "node2 confirms no commits yet"),
        ([primary("node1"), replica("node2", lag=17 << 20)], None, "node2 lags 17 MiB"),
        ([primary("node1"), replica("node2", lag=None)], "node2", "no replica is fit"),
    ],
    ids=["nobody_answers", "nobody_leads", "the_leader_stops", "alone", "a_third_is_down",
         "stranger", "leads_already", "others_confirm", "lags", "lag_unknown"],
)  # fmt: skip
def test_handover_refuses(members: list[PatroniMember], candidate: str | None, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        handover(members, candidate, 16)


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ([replica("node2"), primary("node1")], "node1"),
        ([replica("node2"), primary("node1", state="stopping")], None),
        ([replica("node2")], None),
        ([], None),
    ],
    ids=["one_leads", "it_does_not_run", "nobody_leads", "nobody_there"],
)
def test_leader(members: list[PatroniMember], name: str | None) -> None:
    found = leader(members)
    assert (found and found.name) == name


states = st.sampled_from(["running", "streaming", "starting", "stopped", "start failed"])


@st.composite
def patroni_clusters(draw: st.DrawFn) -> list[PatroniMember]:
    """Return a leader and replicas in any state, pending or not."""
    others = draw(st.lists(st.tuples(states, st.booleans()), max_size=5))
    first = primary("node0", pending=draw(st.booleans()), state=draw(states))
    return [first] + [
        replica(f"node{i}", state=state, pending=pending)
        for i, (state, pending) in enumerate(others, 1)
    ]


@given(patroni_clusters())
def test_restarts_come_to_an_end_and_never_take_a_second_member(
    members: list[PatroniMember],
) -> None:
    names = [member.name for member in members]
    for _ in range(len(members) + 1):
        try:
            step = next_restart(members, names)
        except Refusal:
            return
        if step is None:
            break
        _, target = step
        assert all(m.is_healthy for m in members if m.name != target.name)
        if target.is_leader:
            assert not any(m.pending_restart for m in members if not m.is_leader)
        members = [_restarted(m) if m == target else m for m in members]
    assert not any(member.pending_restart for member in members)


def _restarted(member: PatroniMember) -> PatroniMember:
    return primary(member.name) if member.is_leader else replica(member.name)
