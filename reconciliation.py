"""From Patroni's live configuration to the settings, without a touch of what others have set.

Pure; `operations/patroni_changes.py` sends the patch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Kept beside the live configuration, where Patroni ignores it: what this project applied last.
# Only so can a key that the settings dropped be told from one that somebody else added.
APPLIED = "pgha_applied"


@dataclass(frozen=True)
class Reconciliation:
    """The way from the live configuration to the settings.

    + patch: what to send, with None for keys to remove; empty when nothing differs
    + lines: the same for people, a line per key
    """

    patch: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def reconcile(live: Mapping[str, Any], desired: Mapping[str, Any]) -> Reconciliation:
    """Compare three ways (applied last, live, desired) and touch nothing that is not ours."""
    applied, want = _flat(live.get(APPLIED) or {}), _flat(desired)
    now = _flat({key: value for key, value in live.items() if key != APPLIED})
    changes = _changes(now, want, ours=applied)
    record = _changes(applied, want, ours=applied)
    lines = tuple(
        f"{'.'.join(path)}: {_shown(now.get(path))} -> {_shown(value)}"
        for path, value in sorted(changes.items())
    )
    noted = {(APPLIED, *path): value for path, value in record.items()}
    return Reconciliation(_nested(changes | noted), lines)


_Flat = dict[tuple[str, ...], Any]


def _changes(now: _Flat, want: _Flat, ours: _Flat) -> _Flat:
    """Return what to set, and with None what of `ours` to remove, to come from `now` to `want`."""
    # Patroni itself compares values as text: what reads the same would be "changed" for ever.
    changes = {
        path: value
        for path, value in want.items()
        if path not in now or str(now[path]) != str(value)
    }
    return changes | {
        path: None
        for path in ours
        if path in now and not any(_is_within(path, other) for other in want)
    }


def _is_within(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Say whether setting one of the two settles the other: one holds the other."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]


def _flat(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> _Flat:
    found: _Flat = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found |= _flat(value, (*path, key))
        else:
            found[(*path, key)] = value
    return found


def _nested(paths: _Flat) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for path, value in paths.items():
        place = document
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return document


def _shown(value: Any) -> str:
    return "(not set)" if value is None else repr(value)
