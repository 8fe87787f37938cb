"""Which targets of a restore are taken, and which moments the repository can lead back to."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions import Refusal
from recovery import (
    Archive,
    Backup,
    Leg,
    Route,
    first_missing,
    holds,
    legs,
    route,
    segment,
    tries,
    without_tablespaces,
)
from recovery_target import Target, parse, position, shown

MIB16 = 16 << 20
# A failover from timeline 1 to 2 in the middle of segment 5; a restore from 2 to 4 in segment 7,
# after which 3 (a failover in segment 9) was given up.
HISTORIES = {
    2: f"1\t{shown(5 * MIB16 + 100)}\tno recovery target specified\n",
    3: f"1\t{shown(5 * MIB16 + 100)}\tno\n\n2\t{shown(9 * MIB16 + 8)}\tno\n",
    4: f"1\t{shown(5 * MIB16 + 100)}\tno\n2\t{shown(7 * MIB16 + 50)}\tbefore 2026-03-01\n",
}


def segments(timeline: int, first: int, last: int) -> set[str]:
    return {f"{timeline:08X}00000000{number:08X}" for number in range(first, last + 1)}


ARCHIVE = Archive(
    frozenset(segments(1, 1, 5) | segments(2, 5, 9) | segments(3, 9, 12) | segments(4, 7, 20)),
    HISTORIES,
)


def backup(label: str, timeline: int, number: int, stopped: int) -> Backup:
    return Backup(label, stopped, 100 << 20, timeline, number * MIB16 + 40, number * MIB16 + 300)


OLD = backup("20260101-010000F", 1, 2, 1000)
MIDDLE = backup("20260101-010000F_20260102-010000D", 2, 6, 2000)
GIVEN_UP = backup("20260103-010000F", 3, 11, 3000)
NEW = backup("20260104-010000F", 4, 15, 4000)
ALL = [OLD, MIDDLE, GIVEN_UP, NEW]
NOW = 5000.0


def at(seconds: float) -> Target:
    return Target("time", "then", when=seconds)


def lsn(number: int, more: int = 0) -> Target:
    bytes_ = number * MIB16 + more
    return Target("lsn", shown(bytes_), lsn=bytes_)


# --- what may be typed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("latest", Target("latest")),
        ("20260101-010000F", Target("backup", "20260101-010000F")),
        (MIDDLE.label, Target("backup", MIDDLE.label)),
        ("0/3000060", Target("lsn", "0/3000060", lsn=0x3000060)),
        ("a/f", Target("lsn", "A/F", lsn=(10 << 32) + 15)),
        ("xid:734", Target("xid", "734")),
        ("name:before the release", Target("name", "before the release")),
        (
            "1970-01-01 01:00:10.5+01:00",
            Target("time", "1970-01-01 00:00:10.500000+00", when=10.5),
        ),
        ("1970-01-01T00:00:10Z", Target("time", "1970-01-01 00:00:10.000000+00", when=10.0)),
        ("1970-01-01 00:00:10 UTC", Target("time", "1970-01-01 00:00:10.000000+00", when=10.0)),
    ],
    ids=lambda value: str(value),
)
def test_takes(text: str, target: Target) -> None:
    assert parse(text) == target


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("yesterday", "is no target"),
        ("734", "is no target"),  # a transaction, a day? xid:734 is clear
        ("xid:0", "is no target"),
        ("xid:4294967296", "is no target"),
        ("name:", "is no target"),
        ("name:it's", "is no target"),
        ("name:$(reboot)", "is no target"),
        ("2026-02-30 12:00:00Z", "is no target"),
        ("2026-03-01 12:00:00", "without a zone"),
        ("20260101", "without a zone"),
        ("0/123456789", "is no target"),
    ],
)
def test_refuses_to_guess(text: str, part: str) -> None:
    with pytest.raises(Refusal, match=part) as refusal:
        parse(text)
    assert "HINT: " in str(refusal.value)


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_a_time_means_the_same_whatever_its_zone_is_written_like(moment: datetime) -> None:
    target = parse(moment.isoformat())
    assert target.when == moment.timestamp()
    assert parse(target.value.replace("+00", " UTC")) == target


@given(st.text(max_size=30))
def test_nothing_but_a_refusal_comes_of_any_text(text: str) -> None:
    try:
        target = parse(text)
    except Refusal:
        return
    assert not set(target.value) & set("'\"\\$`\n;&|")


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_position_is_read_as_it_is_written(value: int) -> None:
    assert position(shown(value)) == value


# --- timelines --------------------------------------------------------------------------------


def test_the_way_to_the_newest_timeline_leaves_out_what_was_given_up() -> None:
    way = legs(ARCHIVE, 4)
    assert [leg.timeline for leg in way] == [1, 2, 4]
    assert way[1] == Leg(2, 5 * MIB16 + 100, 7 * MIB16 + 50)
    assert not holds(way, GIVEN_UP.timeline, GIVEN_UP.stop)
    assert not holds(way, 2, 8 * MIB16), "timeline 2 went on, but not for us"


def test_a_way_that_nobody_knows_is_refused() -> None:
    with pytest.raises(Refusal, match="no history of timeline 4"):
        legs(replace(ARCHIVE, histories={}), 4)


def test_an_archive_that_is_younger_than_its_timeline_needs_no_history() -> None:
    young = Archive(frozenset(segments(4, 8, 9)), {})
    assert legs(young, 4) == (Leg(4, 0, None),)
    later = backup("later", 4, 8, 1000)
    assert route(Target("latest"), [later], young, NOW) == Route((later,), 4)
    with pytest.raises(Refusal, match="no history of timeline 5"):
        legs(young, 5)


def test_the_segment_of_a_switch_is_the_new_timelines() -> None:
    way = legs(ARCHIVE, 4)
    names = [segment(ARCHIVE, way, number)[:8] for number in (4, 5, 6, 7, 8)]
    assert names == ["00000001", "00000002", "00000002", "00000004", "00000004"]


@given(st.sets(st.integers(min_value=1, max_value=60), min_size=1), st.integers(1, 60))
def test_the_first_missing_segment_is_the_first_that_is_missing(
    numbers: set[int], start: int
) -> None:
    there = frozenset(name for number in numbers for name in segments(1, number, number))
    name, begin = first_missing(Archive(there, {}), (Leg(1, 0, None),), start * MIB16 + 7)
    wanted = next(number for number in range(start, 62) if number not in numbers)
    assert (name, begin) == (f"0000000100000000{wanted:08X}", wanted * MIB16)


@given(st.integers(min_value=0, max_value=2**44), st.sampled_from([1, 16, 64, 1024]))
def test_a_segment_has_the_name_that_postgresql_gives_it(lsn_: int, mib: int) -> None:
    archive = Archive(frozenset(), {}, mib << 20)
    name = segment(archive, (Leg(1, 0, None),), lsn_ // archive.segment_bytes)
    begin = (int(name[8:16], 16) << 32) + int(name[16:], 16) * archive.segment_bytes
    assert begin <= lsn_ < begin + archive.segment_bytes


# --- from where to where ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (Target("latest"), Route((NEW,), 4)),
        (at(4500), Route((NEW,), 4)),
        (at(3500), Route((MIDDLE,), 4)),  # across a failover, and past what was given up
        (at(1500), Route((OLD,), 4)),
        (lsn(15, 300), Route((NEW,), 4)),
        (lsn(15, 299), Route((MIDDLE,), 4)),
        (lsn(2, 300), Route((OLD,), 4)),
        (Target("xid", "734"), Route((NEW, MIDDLE, OLD), 4)),
        (Target("name", "x"), Route((NEW, MIDDLE, OLD), 4)),
        (Target("backup", MIDDLE.label), Route((MIDDLE,), 2)),
        (Target("backup", GIVEN_UP.label), Route((GIVEN_UP,), 3)),
    ],
    ids=str,
)
def test_leads_there(target: Target, wanted: Route) -> None:
    assert route(target, ALL, ARCHIVE, NOW) == wanted


@pytest.mark.parametrize(
    ("target", "part"),
    [
        (at(5001), "is in the future"),
        (at(1000), "is before the end of the oldest backup, 20260101-010000F"),
        (lsn(2, 299), "is before the end of the oldest backup"),
        (lsn(21), "the archive lacks the segment 000000040000000000000015"),
        (Target("backup", "20200101-010000F"), "there is no backup 20200101-010000F"),
    ],
    ids=str,
)
def test_refuses(target: Target, part: str) -> None:
    with pytest.raises(Refusal, match=part) as refusal:
        route(target, ALL, ARCHIVE, NOW)
    assert "HINT: " in str(refusal.value)


def without(*names: str) -> Archive:
    return replace(ARCHIVE, segments=ARCHIVE.segments - set(names))


def test_a_gap_is_refused_where_it_is_in_the_way_and_only_there() -> None:
    gap = without("000000040000000000000012")  # segment 18
    with pytest.raises(Refusal, match="latest would silently end there"):
        route(Target("latest"), ALL, gap, NOW)
    with pytest.raises(Refusal, match="lacks the segment 000000040000000000000012"):
        route(lsn(19), ALL, gap, NOW)
    assert route(lsn(17), ALL, gap, NOW).backups == (NEW,)
    with pytest.raises(Refusal, match="needs the segment 00000004000000000000000F"):
        route(Target("backup", NEW.label), ALL, without("00000004000000000000000F"), NOW)


def test_without_a_backup_or_with_none_on_the_way_there_is_no_way() -> None:
    with pytest.raises(Refusal, match="has no backup"):
        route(Target("latest"), [], ARCHIVE, NOW)
    with pytest.raises(Refusal, match="no backup lies on the way to timeline 4"):
        route(Target("latest"), [GIVEN_UP], ARCHIVE, NOW)


def test_backups_with_tablespaces_are_left_out_and_refused_where_there_is_no_other() -> None:
    found = {NEW.label: ["far at /srv/far"], MIDDLE.label: [], OLD.label: ["far at /srv/far"]}
    assert without_tablespaces(Route((NEW, MIDDLE, OLD), 4), found) == Route((MIDDLE,), 4)
    with pytest.raises(Refusal, match=f"{NEW.label} has tablespaces.*: far at /srv/far"):
        without_tablespaces(Route((NEW, OLD), 4), found)


def test_each_older_backup_replays_up_to_the_end_of_the_next() -> None:
    assert tries([MIDDLE, OLD], MIB16) == (MIDDLE.label, f"{OLD.label}={6:016X}")
    assert tries([OLD], MIB16) == (OLD.label,)
    far = backup("20260105-010000F", 4, 256 + 3, 5000)
    assert tries([far, OLD], MIB16)[1].endswith("=0000000100000003")


@given(st.lists(st.integers(1, 20), min_size=1, unique=True), st.integers(0, 25 * MIB16))
def test_a_backup_never_ends_behind_the_target(numbers: list[int], wanted: int) -> None:
    archive = Archive(frozenset(segments(1, 1, 22)), {})
    backups = [backup(f"202601{n:02}-010000F", 1, n, n) for n in numbers]
    target = Target("lsn", shown(wanted), lsn=wanted)
    try:
        (chosen,) = route(target, backups, archive, NOW).backups
    except Refusal:
        assert wanted < min(one.stop for one in backups) or wanted >= 23 * MIB16
        return
    assert chosen.stop <= wanted < 23 * MIB16
    assert not [one for one in backups if chosen.stop < one.stop <= wanted]
