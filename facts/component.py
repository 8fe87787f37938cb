"""The files and units of one component, read in one command."""

import re
import shlex
import stat
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

# What follows a key that names a secret is replaced on the host, before it can reach any log; so is
# every line of a private key, from its first to its last (of JSON's single line: to the end).
_NAMES = "password|passphrase|secret|cipher-pass|s3-key|azure-key"
_BEGIN, _END = "-----BEGIN [A-Z ]*KEY-----", "^-----END [A-Z ]*KEY-----"
MASKED = "*MASKED*"
REDACT = (
    f"/{_BEGIN}/,/{_END}/s/.*/{MASKED}/;"
    rf"s/(({_NAMES})[\"']?[[:space:]]*[:=]).*/\1 {MASKED}/I"
)
_AFTER_NAME = re.compile(rf"((?:{_NAMES})[\"']?[ \t]*[:=]).*", re.IGNORECASE)


def redacted(text: str) -> list[str]:
    """Return the lines of a text as a host shows those of a file: without what is secret."""
    lines, is_key = list[str](), False
    for line in text.splitlines():
        begins = not is_key and re.search(_BEGIN, line)
        lines.append(MASKED if is_key or begins else _AFTER_NAME.sub(rf"\1 {MASKED}", line))
        is_key = bool(begins) or (is_key and not re.search(_END, line))
    return lines


# Few processes for many paths: this is most of what a deploy with nothing to do runs on a host.
SCRIPT = """
stat -L -c 'path %f %U %G %Y %n' {paths} 2>/dev/null
sha256sum {paths} 2>/dev/null
{show}
for unit in {units}; do
  said=$(systemctl show -p LoadState -p ActiveState -p UnitFileState -p MainPID "$unit")
  pid=${{said##*MainPID=}}; pid=${{pid%%[!0-9]*}}; ages=
  if [ "${{pid:-0}}" -gt 0 ]; then ages=$(ps -o etimes= -p "$pid" --ppid "$pid"); fi
  echo "unit $unit" $said ages $ages
done
echo "now $(date +%s)"
echo end
"""
SHOW = """
for path in {paths}; do
  if [ -f "$path" ]; then echo "show $path"; sed -E -e {redact} -e 's/^/| /' -e '$a\\' "$path"; fi
done
"""
SUM = re.compile(r"([0-9a-f]{64})  (.+)")


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
        # Without a path both commands would complain, or wait for ever.
        quoted = " ".join(map(shlex.quote, paths)) or "''"
        shown = SHOW.format(paths=quoted, redact=shlex.quote(REDACT)) if show else ""
        units_quoted = " ".join(map(shlex.quote, units))
        script = SCRIPT.format(paths=quoted, units=units_quoted, show=shown.strip())
        return StringCommand("\n".join(line for line in script.splitlines() if line))

    @override
    def process(self, output: list[str]) -> ComponentState:
        found = ComponentState(paths={}, units={})
        lines = list[str]()
        for line in output:
            if line.startswith("| "):
                lines.append(line.removeprefix("| "))
            elif (hashed := SUM.fullmatch(line)) and hashed[2] in found["paths"]:
                found["paths"][hashed[2]]["sum"] = hashed[1]
            elif line.startswith("path "):
                path, told = _path(line)
                found["paths"][path] = told
            elif line.startswith("show "):
                lines = found["paths"][line.removeprefix("show ")]["lines"]
            elif line.startswith("unit "):
                name, told_of_unit = _unit(line)
                found["units"][name] = told_of_unit
            elif line.startswith("now "):
                # The last thing that is asked, so that no unit looks older than it is.
                for unit in found["units"].values():
                    unit["started"] += int(line.removeprefix("now "))
        return found


def _path(line: str) -> tuple[str, PathState]:
    _, mode, user, group, mtime, path = line.split(" ", 5)
    bits = int(mode, 16)
    return path, PathState(
        mode=f"{bits & 0o7777:o}",
        user=user,
        group=group,
        mtime=int(mtime),
        sum="directory" if stat.S_ISDIR(bits) else "",
        lines=[],
    )


def _unit(line: str) -> tuple[str, UnitState]:
    """Return a unit's name and state; `started` is counted from now."""
    said, _, ages = line.partition(" ages")
    _, name, *pairs = said.split()
    values = dict(pair.split("=", 1) for pair in pairs)
    return name, UnitState(
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        enabled=values.get("UnitFileState", ""),
        started=-min(map(int, ages.split()), default=0),
    )
