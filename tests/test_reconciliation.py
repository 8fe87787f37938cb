"""From the live configuration to the settings: by example, and by any documents at all."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation import APPLIED, reconcile


def patroni_merge(config: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with `patch` in it, as Patroni's `patch_config` does it.

    None removes, dictionaries merge, and a value is replaced when its text differs.
    """
    config = copy.deepcopy(config)
    for name, value in patch.items():
        if value is None:
            config.pop(name, None)
        elif isinstance(config.get(name), dict) and isinstance(value, dict):
            config[name] = patroni_merge(config[name], value)
        elif name not in config or isinstance(value, dict) or str(config[name]) != str(value):
            config[name] = copy.deepcopy(value)
    return config


def flat(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for key, value in document.items():
        here = (*path, key)
        found |= flat(value, here) if isinstance(value, dict) else {here: value}
    return found


# Small documents over few names, so that they meet. As in Patroni's, a name's place tells whether
# it holds a value (lower case) or further names (upper case).
LEAVES = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from([1, 2, 30, "on", "off", "2GB"]), max_size=3
)


@st.composite
def documents(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    document: dict[str, Any] = dict(draw(LEAVES))
    if depth:
        for name in draw(st.sets(st.sampled_from("PQ"))):
            if inner := draw(documents(depth - 1)):
                document[name] = inner
    return document


@given(live=documents(), applied=documents(), desired=documents())
def test_the_patch_makes_the_settings_so_and_touches_nothing_else(
    live: dict[str, Any], applied: dict[str, Any], desired: dict[str, Any]
) -> None:
    before = live | ({APPLIED: applied} if applied else {})
    after = flat(patroni_merge(before, reconcile(before, desired).patch))
    ours = {path: value for path, value in after.items() if path[0] != APPLIED}
    want, dropped = flat(desired), flat(applied).keys() - flat(desired).keys()
    foreign = {p: v for p, v in flat(live).items() if p not in want and p not in dropped}
    assert ours == want | foreign
    assert {p[1:]: v for p, v in after.items() if p[0] == APPLIED} == want


@given(live=documents(), applied=documents(), desired=documents())
def test_a_second_reconciliation_has_nothing_to_do(
    live: dict[str, Any], applied: dict[str, Any], desired: dict[str, Any]
) -> None:
    before = live | {APPLIED: applied}
    after = patroni_merge(before, reconcile(before, desired).patch)
    again = reconcile(after, desired)
    assert (again.patch, again.lines) == ({}, ())


@given(live=documents(), applied=documents(), desired=documents())
def test_a_change_is_shown_key_by_key(
    live: dict[str, Any], applied: dict[str, Any], desired: dict[str, Any]
) -> None:
    before = live | {APPLIED: applied}
    now, want = flat(live), flat(desired)
    changed = {p for p in want if now.get(p) != want[p]}
    changed |= {p for p in flat(applied) if p not in want and p in now}
    shown = [line.partition(":")[0] for line in reconcile(before, desired).lines]
    assert shown == [".".join(path) for path in sorted(changed)]


def test_reconcile_shows_a_change_as_a_person_reads_it() -> None:
    live = {
        "ttl": 30,
        "postgresql": {"parameters": {"work_mem": "4MB", "jit": "off", "theirs": "on"}},
        APPLIED: {"ttl": 30, "postgresql": {"parameters": {"work_mem": "4MB", "jit": "off"}}},
    }
    desired = {"ttl": 40, "postgresql": {"parameters": {"work_mem": "8MB", "new": 1}}}
    found = reconcile(live, desired)
    assert found.lines == (
        "postgresql.parameters.jit: 'off' -> (not set)",
        "postgresql.parameters.new: (not set) -> 1",
        "postgresql.parameters.work_mem: '4MB' -> '8MB'",
        "ttl: 30 -> 40",
    )
    parameters = {"jit": None, "new": 1, "work_mem": "8MB"}
    changes = {"ttl": 40, "postgresql": {"parameters": parameters}}
    assert found.patch == {**changes, APPLIED: changes}


def test_reconcile_adopts_a_cluster_that_it_never_touched() -> None:
    live = {"ttl": 30, "loop_wait": 10, "theirs": {"kept": True}}
    found = reconcile(live, {"ttl": 30})
    assert found.lines == ()
    assert found.patch == {APPLIED: {"ttl": 30}}


def test_reconcile_leaves_alone_what_somebody_else_removed_already() -> None:
    found = reconcile({APPLIED: {"gone": 1}}, {})
    assert found.lines == ()
    assert found.patch == {APPLIED: {"gone": None}}


# Patroni replaces a value only when its text differs, so these must not be patched for ever.
SAME_TEXT = [("100", 100), (100, "100"), ("1.1", 1.1)]


@pytest.mark.parametrize(("live", "desired"), SAME_TEXT)
def test_a_value_that_patroni_takes_for_the_same_is_left(live: Any, desired: Any) -> None:
    before = {"x": live, APPLIED: {"x": live}}
    after = patroni_merge(before, reconcile(before, {"x": desired}).patch)
    assert reconcile(after, {"x": desired}).patch == {}


# Equal to Python, and to Patroni a change all the same.
NOT_THE_SAME = [(1, True), (True, 1), (0, False), (1, 1.0)]


@pytest.mark.parametrize(("live", "desired"), NOT_THE_SAME)
def test_a_value_of_another_type_is_brought_to_the_setting(live: Any, desired: Any) -> None:
    before = {"x": live, APPLIED: {"x": live}}
    after = patroni_merge(before, reconcile(before, {"x": desired}).patch)
    assert repr(after["x"]) == repr(desired)


@pytest.mark.parametrize(
    ("live", "applied", "desired"),
    [
        ({"x": 1}, {"x": 1}, {"x": {"y": 1}}),
        ({"x": {"y": 1}}, {"x": {"y": 1}}, {"x": 1}),
        ({"x": 1}, {}, {"x": {"y": 1}}),
    ],
    ids=["a_value_becomes_a_mapping", "a_mapping_becomes_a_value", "somebody_elses_value"],
)
def test_reconcile_survives_a_change_of_shape(
    live: dict[str, Any], applied: dict[str, Any], desired: dict[str, Any]
) -> None:
    before = live | {APPLIED: applied}
    after = patroni_merge(before, reconcile(before, desired).patch)
    assert after == desired | {APPLIED: desired}
