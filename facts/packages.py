"""Which packages a host has, in which version."""

import re

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


class InstalledPackages(FactBase[dict[str, str]]):
    """Return the version of each installed package among `names`; one that is absent is left out.

    + family: "debian" or "el"
    + names: names of packages
    """

    default = dict

    @override
    def command(self, family: str, names: list[str]) -> StringCommand:
        quoted = [QuoteString(name) for name in names]
        if family == "debian":
            form = "${db:Status-Abbrev} ${Package} ${Version}\\n"
            return StringCommand(
                "dpkg-query -W -f", QuoteString(form), *quoted, "2>/dev/null || true"
            )
        form = "ii  %{NAME} %{VERSION}-%{RELEASE}\\n"
        return StringCommand("rpm -q --qf", QuoteString(form), *quoted, "|| true")

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        words = [line.split() for line in output]
        return {found[1]: found[2] for found in words if len(found) == 3 and found[0] == "ii"}


class HeldPackages(FactBase[set[str]]):
    """Return the names of packages whose version somebody has locked.

    + family: "debian" or "el"
    """

    default = set

    @override
    def command(self, family: str) -> StringCommand:
        if family == "debian":
            return StringCommand("apt-mark showhold")
        # What `dnf versionlock list` reads; without the plugin there is no such file.
        return StringCommand("cat /etc/dnf/plugins/versionlock.list 2>/dev/null || true")

    @override
    def process(self, output: list[str]) -> set[str]:
        # On Enterprise Linux a lock reads haproxy-0:3.2.8-1PGDG.rhel8.*, and ! before it excludes.
        names = (re.sub(r"-\d+:[^-]+-[^-]+$", "", line) for line in output)
        return {name for name in names if name and not name.startswith(("#", "!"))}
