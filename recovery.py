"""Which moment a restore can go back to: pure rules over what the repository holds.

A target is refused (`decisions.Refusal`) when the repository shows that it cannot be reached. What
only WAL itself can tell, such as whether a transaction id is in it, a rehearsal finds out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import wal
from decisions import Refusal
from recovery_target import LSN, Target, position, shown

BY_HAND = (
    "restore by hand, with Patroni stopped on all members: https://pgbackrest.org/user-guide.html."
)


@dataclass(frozen=True)
class Backup:
    """One backup: label, when it ended (seconds since the epoch), bytes of the whole database.

    + timeline, start, stop: where in WAL it lies, positions in bytes
    """

    label: str
    stopped: int
    size: int
    timeline: int
    start: int
    stop: int


@dataclass(frozen=True)
class Archive:
    """What the repository has of WAL: names of segments, and each timeline's history by number."""

    segments: frozenset[str]
    histories: Mapping[int, str]
    segment_bytes: int = wal.SEGMENT_BYTES

    @property
    def newest_timeline(self) -> int:
        known = {int(name[:8], 16) for name in self.segments}
        return max(known | set(self.histories), default=0)


@dataclass(frozen=True)
class Route:
    """How to get there.

    + backups: whose restore may lead there, the first to try first
    + timeline: which one to follow
    """

    backups: tuple[Backup, ...]
    timeline: int


@dataclass(frozen=True)
class Leg:
    """A timeline's part of the way to the newest one: from `begin` to `end` (None: still on)."""

    timeline: int
    begin: int
    end: int | None


def legs(archive: Archive, timeline: int) -> tuple[Leg, ...]:
    """Return the way to a timeline from the first one; raises Refusal where nobody knows it.

    An archive that is younger than the timeline has nothing of any other one, and needs no history.
    """
    if timeline > 1 and timeline not in archive.histories:
        if {int(name[:8], 16) for name in archive.segments} == {timeline}:
            return (Leg(timeline, 0, None),)
        raise Refusal(
            f"the archive has no history of timeline {timeline}, so nobody knows where it began",
            f"give it {timeline:08X}.history from a member's pg_wal: docs/operations.md says how.",
        )
    found, begin = [], 0
    for line in archive.histories.get(timeline, "").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdigit() and LSN.fullmatch(words[1]):
            end = position(words[1])
            found.append(Leg(int(words[0]), begin, end))
            begin = end
    return (*found, Leg(timeline, begin, None))


def holds(way: Sequence[Leg], timeline: int, lsn: int) -> bool:
    """Say whether a position of a timeline lies on the way."""
    return any(leg.timeline == timeline and (leg.end is None or lsn <= leg.end) for leg in way)


def first_missing(archive: Archive, way: Sequence[Leg], start: int) -> tuple[str, int]:
    """Return the first segment from `start` on that the archive has not, and where it begins."""
    number = start // archive.segment_bytes
    while (name := segment(archive, way, number)) in archive.segments:
        number += 1
    return name, number * archive.segment_bytes


def segment(archive: Archive, way: Sequence[Leg], number: int) -> str:
    """Return the name of a segment: PostgreSQL looks for the newest timeline that has begun."""
    size = archive.segment_bytes
    on = max((leg for leg in way if leg.begin // size <= number), key=lambda leg: leg.begin)
    return wal.name_of(on.timeline, number, size)


def route(target: Target, backups: Sequence[Backup], archive: Archive, now: float) -> Route:
    """Return how to get to a target; raises Refusal when the repository shows that one cannot.

    + backups: all that are whole, in any order
    + now: the repository host's clock, in seconds since the epoch
    """
    if not backups:
        raise Refusal("the repository has no backup to start from", "look at `pgbackrest info`.")
    if target.kind == "backup":
        return _to_backup(target, backups, archive)
    if target.kind == "time" and target.when > now:
        raise Refusal(
            f"{target.value} is in the future: it is {_moment(now)} on the repository host",
            "latest is all that was ever archived.",
        )
    timeline = archive.newest_timeline
    way = legs(archive, timeline)
    usable = sorted(
        (one for one in backups if holds(way, one.timeline, one.stop)),
        key=lambda one: one.stopped,
        reverse=True,
    )
    if not usable:
        raise Refusal(
            f"no backup lies on the way to timeline {timeline}, the newest",
            "give a backup's label: that restores its own end.",
        )
    found = tuple(one for one in usable if _begins_before(target, one))
    if not found:
        raise Refusal(_too_early(target, usable[-1]), "give a later one.")
    if target.kind in ("latest", "lsn"):
        _refuse_gap(target, found[0], archive, way)
    # Only WAL knows where a transaction or a restore point is: older backups are tried, too.
    return Route(found if target.kind in ("xid", "name") else found[:1], timeline)


def without_tablespaces(way: Route, found: Mapping[str, Sequence[str]]) -> Route:
    """Return the way with those backups only that lie beside the data; raises Refusal for none.

    A tablespace is restored to where it was, over what may lie there by now.

    + found: the tablespaces in each backup, by its label
    """
    backups = tuple(backup for backup in way.backups if not found[backup.label])
    if not backups:
        label = way.backups[0].label
        raise Refusal(
            f"{label} has tablespaces, and what lies there would be overwritten:"
            f" {', '.join(found[label])}",
            BY_HAND,
        )
    return Route(backups, way.timeline)


def tries(backups: Sequence[Backup], segment_bytes: int) -> tuple[str, ...]:
    """Return the labels of backups that are tried one after the other, the newest first.

    From the second on each has the number of the last segment that it has to replay, as
    `label=<16 digits>`: what comes later, the one before has seen.
    """
    ends = (wal.name_of(0, one.stop // segment_bytes, segment_bytes)[8:] for one in backups)
    older = (f"{one.label}={end}" for one, end in zip(backups[1:], ends, strict=False))
    return (backups[0].label, *older)


def _begins_before(target: Target, backup: Backup) -> bool:
    if target.kind == "time":
        return backup.stopped < target.when
    return target.kind != "lsn" or backup.stop <= target.lsn


def _too_early(target: Target, oldest: Backup) -> str:
    end = shown(oldest.stop) if target.kind == "lsn" else _moment(oldest.stopped)
    return f"{target.value} is before the end of the oldest backup, {oldest.label} ({end})"


def _to_backup(target: Target, backups: Sequence[Backup], archive: Archive) -> Route:
    known = {backup.label: backup for backup in backups}
    if target.value not in known:
        newest = max(backups, key=lambda one: one.stopped).label
        raise Refusal(
            f"there is no backup {target.value}",
            f"`pgbackrest info` names them; the newest is {newest}.",
        )
    backup = known[target.value]
    way = (Leg(backup.timeline, 0, None),)
    name, missing = first_missing(archive, way, backup.start)
    if missing < backup.stop:
        raise Refusal(
            f"{backup.label} needs the segment {name}, which the archive lacks",
            "restore another backup.",
        )
    return Route((backup,), backup.timeline)


def _refuse_gap(target: Target, backup: Backup, archive: Archive, way: Sequence[Leg]) -> None:
    name, missing = first_missing(archive, way, backup.start)
    if target.kind == "lsn" and target.lsn >= missing:
        raise Refusal(
            f"{target.value} is not before {shown(missing)}: the archive lacks the segment {name}",
            "give an earlier one. WAL of the last minute may still arrive.",
        )
    last = max(
        wal.number_of(one, archive.segment_bytes)
        for one in archive.segments | {name}
        if int(one[:8], 16) == way[-1].timeline or one == name
    )
    if target.kind == "latest" and last * archive.segment_bytes > missing:
        raise Refusal(
            f"the archive lacks the segment {name}: latest would silently end there",
            f"give a time, or an LSN before {shown(missing)}, if that is what you want.",
        )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
