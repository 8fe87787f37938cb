"""What clients were told while faults happened: one line of JSON per answer, on disk at once.

Times are seconds since the epoch, by the clock of the machine that the clients run on.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["acknowledged", "failed", "unknown"]


@dataclass(frozen=True)
class Write:
    """One INSERT through the write port.

    + id: unique among all writes of one load
    + outcome: "failed" is certainly not in the database, "unknown" may be
    + timeline: of the primary that took it, as in WAL file names; "" unless acknowledged
    + who: address of that primary
    + error: the first line of what the client was told; "" when acknowledged
    + by_replica: the write port had led to a server that is read-only
    """

    id: int
    began: float
    ended: float
    outcome: Outcome
    timeline: str = ""
    who: str = ""
    error: str = ""
    by_replica: bool = False


@dataclass(frozen=True)
class Probe:
    """One write on a member itself, past HAProxy.

    + outcome: "acknowledged", "replica" (it serves, read-only) or "none"
    """

    node: str
    began: float
    ended: float
    outcome: Literal["acknowledged", "replica", "none"]


@dataclass(frozen=True)
class Reading:
    """One question through the read port.

    + who: address of the server that answered; "" when none did
    + by_leader: that server was the primary
    """

    began: float
    ended: float
    who: str
    by_leader: bool


@dataclass(frozen=True)
class Fitness:
    """What a member's Patroni answered a HAProxy host that asked for a replica to read from."""

    node: str
    at: float
    fit: bool


Answer = Write | Probe | Reading | Fitness
KINDS: dict[str, type[Answer]] = {kind.__name__: kind for kind in (Write, Probe, Reading, Fitness)}


def line(answer: Answer) -> str:
    """Return an answer as one line of JSON."""
    return json.dumps({"kind": type(answer).__name__, **asdict(answer)})


def read(lines: Iterable[str]) -> list[Answer]:
    """Return the answers of such lines; a last line that was cut off is left out."""
    found: list[Answer] = []
    for text in lines:
        if text.endswith("\n"):
            fields: dict[str, Any] = json.loads(text)
            found.append(KINDS[fields.pop("kind")](**fields))
    return found
