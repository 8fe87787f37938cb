"""How each member of Patroni sees the cluster: they may not agree."""

import json
import shlex
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from facts.patroni import Member, PatroniCluster
from identities import ASK


class View(TypedDict):
    """The cluster as one member sees it; `paused` says that Patroni would not fail over."""

    members: list[Member]
    paused: bool


class PatroniViews(FactBase[dict[str, View | None] | None]):
    """Return how each member sees the cluster, by its URL; None for one that does not answer.

    + urls: base URLs of the members' REST interfaces, asked at the same time
    """

    @override
    def requires_command(self, urls: list[str]) -> str:
        return "curl"

    @override
    def command(self, urls: list[str]) -> StringCommand:
        asked = " ".join(shlex.quote(url) for url in urls)
        return StringCommand(
            f"for url in {asked}; do"
            f' ( answer=$({ASK} --connect-timeout 2 "$url/cluster" 2>/dev/null) || answer=null;'
            ' printf "%s %s\\n" "$url" "$answer" ) & done; wait'
        )

    @override
    def process(self, output: list[str]) -> dict[str, View | None]:
        found: dict[str, View | None] = {}
        for line in output:
            url, _, text = line.partition(" ")
            members = PatroniCluster().process([text])
            paused = members is not None and bool(json.loads(text).get("pause"))
            found[url] = None if members is None else View(members=members, paused=paused)
        return found
