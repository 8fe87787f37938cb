"""Waiting for a state that can be seen, never for a time that may be enough."""

import time
from collections.abc import Callable

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.exceptions import OperationError

PAUSE_SECONDS = 1.0
NEWS_SECONDS = 15.0


def wait_until(
    what: str,
    ready: Callable[[], bool],
    seconds: float,
    hint: str,
    busy: Callable[[], bool] = lambda: False,
) -> None:
    """Return once `ready()`; raises OperationError with `hint` when that takes too long.

    + seconds: how long to wait since `busy()` was last seen, or since the beginning
    + busy: says that work goes on whose length nobody knows, such as the copy of a database
    """
    began = started = told = time.monotonic()
    while not ready():
        now = time.monotonic()
        if busy():
            started = now
        if now - started > seconds:
            raise OperationError(
                f"{host.name}: {what} did not happen within {seconds:.0f} s\n    HINT: {hint}"
            )
        if now - told > NEWS_SECONDS:
            told = now
            host.log(f"still waiting: {what} ({now - began:.0f} s)")
        time.sleep(PAUSE_SECONDS)


def repeated(command: StringCommand, tries: int) -> StringCommand:
    """Return `command` tried once a second until it succeeds, `tries` times at most."""
    return StringCommand(
        "tries=0; until", command,
        f"; do tries=$((tries + 1)); [ $tries -lt {tries} ] || exit 1; sleep 1; done",
    )  # fmt: skip
