"""What SELinux is doing on a host: its mode, its switches, what files are labelled, what it denied.

None of it needs more than the base policy's own tools; a host without SELinux has none of them.
"""

import re
from typing import TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


class SelinuxMode(FactBase[str]):
    """Return "enforcing", "permissive" or "disabled", which is also what no SELinux at all is."""

    @override
    def command(self) -> StringCommand:
        return StringCommand("getenforce 2>/dev/null || echo Disabled")

    @override
    def process(self, output: list[str]) -> str:
        return output[0].strip().lower()


class SelinuxBooleans(FactBase[dict[str, bool]]):
    """Return which of the switches `names` are on; one that the policy has not is left out.

    + names: of booleans
    """

    default = dict

    @override
    def command(self, names: list[str]) -> StringCommand:
        asked = StringCommand("for name in", *map(QuoteString, names))
        return StringCommand(asked, '; do getsebool "$name" 2>/dev/null; done; true')

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        words = [line.split() for line in output]
        return {found[0]: found[2] == "on" for found in words if len(found) == 3}


class Labels(TypedDict):
    """`rules`: the type that each local rule gives, by its pattern; `files`: the type of each path.

    A path that does not exist is in none of the two.
    """

    rules: dict[str, str]
    files: dict[str, str]


class SelinuxLabels(FactBase[Labels]):
    """Return the local rules for labels, and the types that `paths` have now.

    + paths: absolute paths
    """

    @override
    def command(self, paths: list[str]) -> StringCommand:
        return StringCommand(
            "cat /etc/selinux/*/contexts/files/file_contexts.local 2>/dev/null;"
            " stat -c 'is %C %n'", *map(QuoteString, paths), "2>/dev/null; true",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Labels:
        found = Labels(rules={}, files={})
        for line in output:
            if match := re.match(r"is \S+?:\S+?:(\w+)\S* (/.*)", line):
                found["files"][match[2]] = match[1]
            elif match := re.match(r"(/\S+)\s+(?:--?\S?\s+)?\S+?:\S+?:(\w+)", line):
                found["rules"][match[1]] = match[2]
        return found


class SelinuxDenials(FactBase[list[str] | None]):
    """Return what SELinux denied since `path` was written, each kind once; None: nobody noted it.

    + path: whose time counts, such as what a first deploy leaves behind
    """

    @override
    def command(self, path: str) -> StringCommand:
        return StringCommand(
            "if pidof auditd >/dev/null 2>&1; then"
            " echo since=$(stat -c %Y", QuoteString(path), "2>/dev/null || echo 0);"
            " cat /var/log/audit/audit.log | grep 'avc: *denied' | tail -n 1000; fi; true",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> list[str] | None:
        if not output:
            return None
        since, found = int(output[0].partition("=")[2]), []
        for line in output[1:]:
            when = re.search(r"audit\((\d+)", line)
            if when and int(when[1]) >= since:
                what = re.search(r"\{ (.+?) \}", line)
                who, kind = re.search(r'comm="([^"]+)"', line), re.search(r"tclass=(\w+)", line)
                said = (part[1] for part in (who, what, kind) if part)
                found.append(" ".join(said))
        return list(dict.fromkeys(found))
