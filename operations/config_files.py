"""Files of a component: which differ, what would change, and writing those that do.

A file arrives over stdin beside its place with its final owner and mode, is checked there by its
own daemon, and is then renamed: no other process ever sees half of it, and no secret passes
through a command line, a world-readable file or a log.
"""

import difflib
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra import host, logger, state
from pyinfra.api import OperationError, QuoteString, StringCommand

from facts.component import Component, ComponentState, PathState, redacted
from operations import Commands

ABOVE = "the host's own error stands above; nothing was changed there."
# A start follows its file at once, and `ps` tells ages in whole seconds, cut at both ends.
ROUNDED_SECONDS = 1
# The calendar of a timer is checked by the one who reads it, before the old timer is replaced.
CALENDAR_CHECK = "sed -n s/^OnCalendar=//p {} | xargs -d '\\n' systemd-analyze calendar >/dev/null"
TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


@dataclass(frozen=True)
class File:
    """A file as it should be; `check` is a command that must accept it, with {} for its path."""

    path: str
    content: str
    user: str = "root"
    group: str = "root"
    mode: str = "644"
    check: str = ""

    def __repr__(self) -> str:
        return f"File({self.path})"  # the content may hold secrets


@dataclass(frozen=True)
class Directory:
    """A directory as it should be; its parents are made for root."""

    path: str
    user: str = "root"
    group: str = "root"
    mode: str = "755"


@cache
def _templates() -> Environment:
    return Environment(  # noqa: S701  # configuration files are not HTML
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **values: Any) -> str:
    """Return the text of `templates/<template>` with `values` filled in."""
    return _templates().get_template(template).render(**values)


def read(
    wanted: Sequence[File | Directory], units: Sequence[str] = (), also: Sequence[str] = ()
) -> ComponentState:
    """Return the present state of files, directories and units, in one remote command.

    + wanted: files and directories that should be there
    + units: systemd units
    + also: further paths to look at
    """
    found: ComponentState | None = host.get_fact(
        Component,
        paths=[*(item.path for item in wanted), *also],
        units=list(units),
        show=bool(state.config.DIFF),
    )
    if found is None:
        paths = [*(item.path for item in wanted), *units, *also]
        raise OperationError(
            f"cannot tell what {host.name} has of {', '.join(paths)}\n    HINT: {ABOVE}"
        )
    return found


def differing(wanted: Sequence[File | Directory], found: ComponentState) -> list[File | Directory]:
    """Return what is not as it should be, and show how with `--diff`."""
    different = [item for item in wanted if not _matches(item, found["paths"].get(item.path))]
    if state.config.DIFF:
        for item in different:
            if isinstance(item, File):
                _show(item, found["paths"].get(item.path))
    return different


def written(different: Sequence[File | Directory], then: str | StringCommand = "") -> Commands:
    """Yield one command per item; `then` is run with the last one, so that none is left undone."""
    for item in different:
        last = item is different[-1]
        yield _command(item, StringCommand(" && ", then) if last and then else StringCommand(""))


def unit_is_ready(found: ComponentState, unit: str) -> bool:
    """Say whether a unit runs now and will run after a reboot."""
    state_of = found["units"][unit]
    return (state_of["active"], state_of["enabled"]) == ("active", "enabled")


def holds(
    drop_in: File, found: ComponentState, different: Sequence[File | Directory], unit: str
) -> bool:
    """Say whether a unit was started by its present drop-in, which no reload applies."""
    if drop_in in different:
        return False
    started = found["units"][unit]["started"] + ROUNDED_SECONDS
    return started >= found["paths"][drop_in.path]["mtime"]


def _matches(item: File | Directory, found: PathState | None) -> bool:
    if found is None:
        return False
    total = (
        hashlib.sha256(item.content.encode()).hexdigest() if isinstance(item, File) else "directory"
    )
    return (found["sum"], found["mode"], found["user"], found["group"]) == (
        total, item.mode, item.user, item.group,
    )  # fmt: skip


def _command(item: File | Directory, then: StringCommand) -> StringCommand:
    owner = StringCommand(
        "-o", QuoteString(item.user), "-g", QuoteString(item.group), "-m", QuoteString(item.mode)
    )
    if isinstance(item, Directory):
        return StringCommand("install -d", owner, QuoteString(item.path), then)
    staged = f"{item.path}.pgha-new"
    check = item.check and f"&& {item.check.replace('{}', shlex.quote(staged))}"
    return StringCommand(
        "install -D", owner, "/dev/stdin", QuoteString(staged), check,
        "&& mv -f", QuoteString(staged), QuoteString(item.path), then,
        _stdin=item.content,
    )  # fmt: skip


def _show(item: File, found: PathState | None) -> None:
    old = found["lines"] if found else []
    new = redacted(item.content)
    for line in difflib.unified_diff(old, new, item.path, item.path, lineterm="", n=2):
        logger.info("%s%s", host.print_prefix, line)
