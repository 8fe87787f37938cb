"""Names of WAL segments, and what is missing among them. It knows no pyinfra and does no I/O."""

from collections.abc import Sequence
from itertools import pairwise

# As a cluster is born; PostgreSQL's initdb could make others, and nothing here asks it to.
SEGMENT_BYTES = 16 << 20


def number_of(name: str, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Return which segment since the beginning a name stands for, whatever its timeline."""
    return int(name[8:16], 16) * _per_log(segment_bytes) + int(name[16:24], 16)


def name_of(timeline: int, number: int, segment_bytes: int = SEGMENT_BYTES) -> str:
    """Return the name of a segment, 24 hexadecimal digits."""
    high, low = divmod(number, _per_log(segment_bytes))
    return f"{timeline:08X}{high:08X}{low:08X}"


def missing(first: str, segments: Sequence[str]) -> list[str]:
    """Return a line per gap in the segments' names from `first` on.

    A timeline begins where an earlier one was left: with a segment of theirs, or with the next.
    """
    by_timeline: dict[str, list[int]] = {}
    for name in sorted(segments):
        by_timeline.setdefault(name[:8], []).append(number_of(name))
    end, faults = number_of(first) - 1, []
    for timeline, numbers in by_timeline.items():
        before = min(end, numbers[0] - 1)
        for one, other in pairwise([before, *numbers]):
            if other > one + 1:
                faults.append(
                    f"{other - one - 1} missing before {name_of(int(timeline, 16), other)}"
                )
        end = max(end, numbers[-1])
    if not segments:
        faults.append(f"{first} and all after it are missing")
    return faults


def _per_log(segment_bytes: int) -> int:
    """Return how many segments carry the same middle number: it counts 4 GiB."""
    return (1 << 32) // segment_bytes
