"""The files and units of one component, read in one command."""

import re
import shlex
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

# What follows a key that names a secret is replaced on the host, before it can reach any log.
REDACT = r"s/((password|passphrase|secret|cipher-pass)[\"']?[[:space:]]*[:=]).*/\1 *MASKED*/I"

REDACT_PYTHON = re.compile(
    r"((?:password|passphrase|secret|cipher-pass)[\"']?[ \t]*[:=]).*", re.IGNORECASE
)

SCRIPT = """
for path in {paths}; do
  [ -e "$path" ] || continue
  if [ -d "$path" ]; then sum=directory; else sum=$(sha256sum < "$path" | cut -c 1-64); fi
  echo "path $(stat -c '%a %U %G %Y' "$path") $sum $path"
  if {show} && [ -f "$path" ]; then sed -E -e {redact} -e 's/^/| /' -e '$a\\' "$path"; fi
done
for unit in {units}; do
  pid=$(systemctl show -p MainPID --value "$unit")
  age=$(ps -o etimes= -p "${{pid:-0}}" --ppid "${{pid:-0}}" 2>/dev/null | sort -n | head -n 1)
  [ "${{pid:-0}}" -gt 0 ] || age=0
  echo "unit $unit started=$(($(date +%s) - age))" $(
    systemctl show -p LoadState -p ActiveState -p UnitFileState "$unit")
done
"""


class PathState(TypedDict):
    """One file or directory; `lines` is its redacted text where it was asked for."""

    mode: str
    user: str
    group: str
    mtime: int
    sum: str
    lines: list[str]


class UnitState(TypedDict):
    """One systemd unit; `started` is in seconds since the epoch and means nothing when inactive.

    It is the age of the youngest among the main process and its children: a worker that a reload
    brought is younger than what it reads.
    """

    load: str
    active: str
    enabled: str
    started: int


class ComponentState(TypedDict):
    """What was found; a path or unit that does not exist is left out or says `not-found`."""

    paths: dict[str, PathState]
    units: dict[str, UnitState]


class Component(FactBase[ComponentState | None]):
    """Return mode, owner, age and SHA-256 of paths, and the state of units.

    + paths: absolute paths of files and directories
    + units: names of systemd units
    + show: also return the text of files, with secrets masked (for `--diff`)

    .. code:: python

        {"paths": {"/etc/haproxy": {"mode": "755", "user": "root", ..., "sum": "directory"}},
         "units": {"haproxy.service": {"load": "loaded", "active": "active", ...}}}
    """

    @override
    def command(self, paths: list[str], units: list[str], show: bool = False) -> StringCommand:
        script = SCRIPT.format(
            paths=" ".join(map(shlex.quote, paths)),
            units=" ".join(map(shlex.quote, units)),
            show="true" if show else "false",
            redact=shlex.quote(REDACT),
        )
        return StringCommand(script.strip() + "\necho end")

    @override
    def process(self, output: list[str]) -> ComponentState:
        found = ComponentState(paths={}, units={})
        last: PathState | None = None
        for line in output:
            if line.startswith("| ") and last is not None:
                last["lines"].append(line.removeprefix("| "))
            elif line.startswith("path "):
                _, mode, user, group, mtime, total, path = line.split(" ", 6)
                last = found["paths"][path] = PathState(
                    mode=mode, user=user, group=group, mtime=int(mtime), sum=total, lines=[]
                )
            elif line.startswith("unit "):
                _, name, *pairs = line.split()
                values = dict(pair.split("=", 1) for pair in pairs)
                found["units"][name] = UnitState(
                    load=values.get("LoadState", ""),
                    active=values.get("ActiveState", ""),
                    enabled=values.get("UnitFileState", ""),
                    started=int(values["started"]),
                )
        return found
