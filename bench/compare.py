#!/usr/bin/env python3
"""A deploy with nothing to do, of an earlier revision and of this tree, by turns.

    python bench/compare.py REVISION [--rounds 5]

Each has a cluster of its own, made by its own code on containers that are removed at the end.
Prints a table; nothing is asserted by the clock.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":  # a script finds its own folder only, not the project
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.deploy import HERE, Place, attempt, containers, deploy, deploy_nothing, run, say
from bench.tables import Run, beside

TESTBED = "pgha-test"  # of the names that earlier revisions know, the one without a demo in it


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both by turns, and print what was measured."""
    described = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    described.add_argument("revision", help="what this tree is compared with")
    described.add_argument(
        "--rounds", type=int, choices=range(1, 21), metavar="1..20", default=5, help="deploys each"
    )
    options = described.parse_args(arguments)
    return 0 if attempt(lambda: compare(options.revision, options.rounds)) else 1


def compare(revision: str, rounds: int) -> None:
    """Measure, whatever happens remove containers and tree, and print."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as at_the_end:
        before = Place(Path(folder) / "before", TESTBED)
        git = ["git", "worktree"]
        run(f"git on {revision}", [*git, "add", "--detach", str(before.root), revision])
        at_the_end.callback(run, "git", [*git, "remove", "--force", str(before.root)])
        places = {revision: before, "this tree": HERE}
        for name, place in places.items():
            say(f"the first deploy of {name}")
            containers("down", place=place)
            at_the_end.callback(containers, "down", place=place)
            containers("up", place=place)
            deploy(place=place)
            deploy_nothing(place=place)  # replicas settle
        runs: dict[str, list[Run]] = {name: [] for name in places}
        for _ in range(rounds):
            for name, place in places.items():
                runs[name].append(deploy_nothing(place=place))
                say(f"nothing to do, {name}: {runs[name][-1].seconds:.2f} s")
        print(beside(runs))


if __name__ == "__main__":
    sys.exit(main())
