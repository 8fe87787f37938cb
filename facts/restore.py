"""How far a restore is on a database host, and what its log says of the recovery."""

import json
import re
import shlex
from typing import Any, TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

CONTROL = {
    "system": "Database system identifier",
    "state": "Database cluster state",
    "timeline": "Latest checkpoint's TimeLineID",
    "lsn": "Latest checkpoint location",
}


class DataDir(TypedDict):
    """What pg_controldata says of a directory; 0 and "" where it holds no database.

    `system` tells databases apart that were not born as the same one.
    """

    system: str
    state: str
    timeline: int
    lsn: str


class Progress(TypedDict):
    """How far a restore is on one host.

    `plan` is what the run wrote down ({} without one), `mark` how far the restored directory is;
    `patroni` is its unit's state; `directories` has all that are there, by path; `free_mib` is the
    room beside the data directory; `fixed` says why that cannot be renamed, "" when it can.
    """

    plan: dict[str, Any]
    mark: str
    patroni: str
    directories: dict[str, DataDir]
    free_mib: int
    fixed: str


class RestoreProgress(FactBase[Progress | None]):
    """Return how far a restore is on this host, or None where that cannot be told.

    + data_dir: the data directory
    + bin_dir: where PostgreSQL's programs are
    """

    @override
    def command(self, data_dir: str, bin_dir: str) -> StringCommand:
        data = shlex.quote(data_dir)
        wanted = "|".join(CONTROL.values())
        return StringCommand(
            f'data={data}; echo "plan $(cat $data.restore/plan 2>/dev/null)";'
            ' echo "mark $(cat $data.restore/mark 2>/dev/null)";'
            ' echo "patroni $(systemctl is-active patroni 2>/dev/null)";'
            " echo \"free $(df -Pm $(dirname $data) | awk 'NR == 2 { print $4 }')\";"
            " if mountpoint -q $data || [ -L $data ]; then echo fixed mount;"
            ' elif [ -n "$(ls -A $data/pg_tblspc 2>/dev/null)" ]; then echo fixed tablespace; fi;'
            " for dir in $data $data.restore/data $data.before-*; do [ -d $dir ] || continue;"
            f' echo "dir $dir"; LC_ALL=C {shlex.quote(bin_dir)}/pg_controldata $dir 2>/dev/null'
            f' | grep -E "^({wanted}):"; done; echo end'
        )

    @override
    def process(self, output: list[str]) -> Progress | None:
        if output[-1] != "end":
            return None
        told = dict(line.partition(" ")[::2] for line in output if not line.startswith("dir "))
        return Progress(
            plan=json.loads(told["plan"] or "{}"),
            mark=told["mark"],
            patroni=told["patroni"],
            directories=_directories(output),
            free_mib=int(told["free"]),
            fixed=told.get("fixed", ""),
        )


def _directories(output: list[str]) -> dict[str, DataDir]:
    found: dict[str, dict[str, str]] = {}
    path = ""
    for line in output:
        if line.startswith("dir "):
            path = line.removeprefix("dir ")
            found[path] = {}
        elif path and ":" in line:
            name, _, value = line.partition(":")
            found[path][name] = value.strip()
    return {
        path: DataDir(
            system=said.get(CONTROL["system"], ""),
            state=said.get(CONTROL["state"], ""),
            timeline=int(said.get(CONTROL["timeline"], 0)),
            lsn=said.get(CONTROL["lsn"], ""),
        )
        for path, said in found.items()
    }


PATTERNS = {
    "stopped": re.compile(r"recovery stopping (.*)$"),
    "last": re.compile(r"last completed transaction was at log time (.*)$"),
    "lsn": re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)"),
    "timeline": re.compile(r"selected new timeline ID: (\d+)"),
    "label": re.compile(r"pgha: restored (\S+)"),
}


class RecoveryLog(FactBase[dict[str, str] | None]):
    """Return the last word of the log on where recovery ended, by what it is about; "" for none.

    + work_dir: the restore's directory

    .. code:: python

        {"stopped": "before commit of transaction 745, time ...", "last": "2026-03-01 ...",
         "lsn": "0/3000110", "timeline": "4", "label": "20260301-010000F"}
    """

    @override
    def command(self, work_dir: str) -> StringCommand:
        return StringCommand(f"cat {shlex.quote(work_dir)}/log 2>/dev/null; echo end")

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        found = dict.fromkeys(PATTERNS, "")
        for line in output:
            for name, pattern in PATTERNS.items():
                if said := pattern.search(line):
                    found[name] = said[1]
        return found
