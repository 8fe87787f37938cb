"""What a drill leaves: the same for people (one HTML file that needs nothing else) and programs."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2

from faults.answers import Write
from faults.catalogue import FAULTS
from faults.trial import Trial

HERE = Path(__file__).resolve().parent
# The picture: so many columns at most, of a quarter of a second or more each.
COLUMNS, COLUMN_SECONDS = 240, 0.25


@dataclass(frozen=True)
class Column:
    """How many writes ended in one column's time, by what became of them; `at` in seconds."""

    at: float
    acknowledged: int
    unanswered: int


@dataclass(frozen=True)
class Picture:
    """Writes over time; times in seconds since the first write."""

    columns: list[Column]
    width: float
    struck: float
    healed: float
    well: float

    @property
    def tallest(self) -> int:
        """Return the most writes of one column, 1 at least."""
        return max((c.acknowledged + c.unanswered for c in self.columns), default=0) or 1

    @property
    def seconds(self) -> float:
        """Return how long the picture lasts."""
        return len(self.columns) * self.width


def picture(writes: Sequence[Write], trial: Trial) -> Picture:
    """Return what happened to writes before, in and after the fault."""
    begin = min(write.began for write in writes)
    length = max(write.ended for write in writes) - begin
    width = max(COLUMN_SECONDS, length / COLUMNS)
    count = math.floor(length / width) + 1
    good, bad = [0] * count, [0] * count
    for write in writes:
        column = min(count - 1, math.floor((write.ended - begin) / width))
        (good if write.outcome == "acknowledged" else bad)[column] += 1
    columns = [Column(i * width, good[i], bad[i]) for i in range(count)]
    return Picture(
        columns,
        width,
        trial.struck - begin,
        trial.healed - begin,
        trial.healed + trial.well - begin,
    )


def html(cluster: str, drills: Sequence[tuple[Trial, Sequence[Write]]]) -> str:
    """Return the report as one self-contained document."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    told = [(trial, FAULTS[trial.fault], picture(writes, trial)) for trial, writes in drills]
    return environment.get_template("drill.html.j2").render(cluster=cluster, drills=told)


def document(cluster: str, trials: Sequence[Trial]) -> str:
    """Return the report as JSON."""
    sound = all(trial.is_sound for trial in trials)
    return json.dumps(
        {"cluster": cluster, "ok": sound, "drills": [asdict(trial) for trial in trials]}, indent=2
    )
