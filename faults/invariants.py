"""What a cluster must keep whatever happens to it, judged by what its clients were told.

Pure functions: each returns the breaches it found, a sentence each, and none when all holds.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import wal
from faults.answers import Fitness, Probe, Reading, Write

# Two servers that acknowledge writes within this time both believe to lead (issue of the harness).
WINDOW_SECONDS = 0.1
# HAProxy asks a replica that is out twice a second (with haproxy_check_ms = 1000), waits two
# seconds for an answer, and the reader connects a moment before it is answered.
NOTICED_SECONDS = 4.0
# Fitness is asked about twice a second; a longer silence says nothing.
SILENCE_SECONDS = 2.5


def lost(writes: Iterable[Write], kept: Collection[int]) -> list[str]:
    """Every acknowledged id is there, and none that was refused.

    + kept: the ids that are in the table afterwards
    """
    there = frozenset(kept)
    found = []
    for write in writes:
        if write.outcome == "acknowledged" and write.id not in there:
            found.append(
                f"write {write.id}, acknowledged at {write.ended:.3f} by {write.who}"
                f" on timeline {write.timeline}, is lost"
            )
        if write.outcome == "failed" and write.id in there:
            found.append(f"write {write.id} is there, and was refused: {write.error}")
    return found


def two_primaries(
    writes: Iterable[Write], probes: Iterable[Probe], addresses: Mapping[str, str]
) -> list[str]:
    """Never do two members acknowledge writes within a tenth of a second.

    + addresses: of the members, by name

    An answer that was held up, to a write that began before the other member led, tells of then: a
    host that stood still sends what it had to say when it goes on, and the write is where it was.
    """
    names = {address: name for name, address in addresses.items()}
    acknowledged = [
        (write.ended, write.began, names.get(write.who, write.who))
        for write in writes
        if write.outcome == "acknowledged"
    ]
    acknowledged += [
        (probe.ended, probe.began, probe.node)
        for probe in probes
        if probe.outcome == "acknowledged"
    ]
    leads, since, last, found = "", 0.0, 0.0, []
    for ended, began, who in sorted(acknowledged):
        if who != leads:
            if leads and began < since and ended - began > WINDOW_SECONDS:
                continue
            if leads and ended - last < WINDOW_SECONDS:
                apart = ended - last
                found.append(
                    f"{leads} and {who} acknowledged writes {apart:.3f} s apart, at {ended:.3f}"
                )
            leads, since = who, ended
        last = ended
    return found


def went_back(writes: Iterable[Write]) -> list[str]:
    """No write begun after another was acknowledged on a newer timeline lands on an older one."""
    acknowledged = [write for write in writes if write.outcome == "acknowledged"]
    newest, found = "", []
    ends = sorted((write.ended, write.timeline) for write in acknowledged)
    position = 0
    for write in sorted(acknowledged, key=lambda write: write.began):
        while position < len(ends) and ends[position][0] < write.began:
            newest = max(newest, ends[position][1])
            position += 1
        if write.timeline < newest:
            found.append(
                f"write {write.id} went to timeline {write.timeline} at {write.began:.3f},"
                f" after one on {newest} was acknowledged"
            )
    return found


def wrongly_routed(
    writes: Iterable[Write],
    readings: Iterable[Reading],
    fitness: Iterable[Fitness],
    addresses: Mapping[str, str],
) -> list[str]:
    """The write port leads to no replica; the read port to no leader while a replica is fit.

    Who has just become the primary is none yet to HAProxy, nor a replica that has just come back.
    """
    names = {address: name for name, address in addresses.items()}
    found = [
        f"the write port led to a replica at {write.ended:.3f}: {write.error}"
        for write in writes
        if write.by_replica
    ]
    told: dict[str, list[Fitness]] = defaultdict(list)
    for answer in sorted(fitness, key=lambda answer: answer.at):
        told[answer.node].append(answer)
    for reading in readings:
        if reading.by_leader:
            since = reading.began - NOTICED_SECONDS
            own = told[names.get(reading.who, "")]
            is_new = any(a.fit and since < a.at < reading.ended for a in own)
            fit = [node for node, answers in told.items() if _was_fit(answers, reading)]
            if fit and not is_new:
                found.append(
                    f"the read port led to the leader {reading.who} at {reading.ended:.3f},"
                    f" and {', '.join(fit)} had been fit for {NOTICED_SECONDS:.0f} s"
                )
    return found


def _was_fit(answers: Sequence[Fitness], reading: Reading) -> bool:
    """Say whether a member was fit all the time until it was read from another, and told so."""
    since = reading.began - NOTICED_SECONDS
    times = [answer.at for answer in answers]
    seen = answers[bisect_left(times, since) : bisect_right(times, reading.ended)]
    marks = [since, *(answer.at for answer in seen), reading.ended]
    silent = max(later - earlier for earlier, later in pairwise(marks))
    return silent < SILENCE_SECONDS and all(answer.fit for answer in seen)


_SEGMENT = re.compile(r"^([0-9A-F]{24})-[0-9a-f]{40}(\.\w+)?$")
_HISTORY = re.compile(r"^([0-9A-F]{8})\.history(-[0-9a-f]{40})?(\.\w+)?$")


def gaps(files: Iterable[str]) -> list[str]:
    """The archive has all WAL without a gap, and each timeline's history but the first.

    The first may be any, in an archive that is younger: nothing there comes before it.

    + files: names of files in the archive, without their directories
    """
    names = list(files)
    histories = {match[1] for name in names if (match := _HISTORY.match(name))}
    segments = sorted({match[1] for name in names if (match := _SEGMENT.match(name))})
    if not segments:
        return ["there is no WAL in the archive"]
    _, *later = sorted({name[:8] for name in segments})
    without = [f"timeline {one} has no history file" for one in later if one not in histories]
    return wal.missing(segments[0], segments) + without


def outage(writes: Iterable[Write]) -> float:
    """Return the longest time in seconds in which no write was acknowledged, as clients saw it."""
    ends = sorted(write.ended for write in writes if write.outcome == "acknowledged")
    return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)


def longest_wait(writes: Iterable[Write]) -> float:
    """Return how many seconds the slowest acknowledged write took."""
    return max((w.ended - w.began for w in writes if w.outcome == "acknowledged"), default=0.0)
