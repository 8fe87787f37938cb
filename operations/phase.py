"""Phases of a run: a line all hosts cross together.

pyinfra orders operations by host; two hosts without a common operation run theirs in any order.
A phase is that common operation: nothing of it begins before all hosts are through the last one.
"""

from pyinfra import host
from pyinfra.api import operation

import plan
from operations import Commands


def begins(phase: str) -> bool:
    """Line the hosts up for `phase`, and say whether it is part of this run."""
    if not plan.runs(phase):
        return False
    reached(name=f"== {phase} ==")
    return True


@operation()
def reached() -> Commands:
    """
    Wait for all hosts of this run; changes nothing and asks no host anything.

    **Example:**

    .. code:: python

        phase.reached(name="== etcd ==")
    """
    host.noop("all hosts are here")
    yield from ()
