"""What Patroni's REST interface says; None means that it did not answer."""

import json
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

ASK = "curl --silent --fail --max-time 5"


class Member(TypedDict):
    """One member of /cluster; `timeline` and `lag` (bytes) are None where Patroni cannot tell."""

    name: str
    role: str
    state: str
    timeline: int | None
    lag: int | None
    pending_restart: bool


class PatroniCluster(FactBase[list[Member] | None]):
    """Return the members as one of them sees the cluster.

    + url: base URL of that member's REST interface
    """

    @override
    def requires_command(self, url: str) -> str:
        return "curl"

    @override
    def command(self, url: str) -> StringCommand:
        return StringCommand(ASK, QuoteString(f"{url}/cluster"), "2>/dev/null || echo null")

    @override
    def process(self, output: list[str]) -> list[Member] | None:
        answer: dict[str, Any] | None = json.loads("\n".join(output))
        if answer is None:
            return None
        return [
            Member(
                name=member["name"],
                role=member["role"],
                state=member["state"],
                timeline=_number(member.get("timeline")),
                lag=_number(member.get("lag")),
                pending_restart=bool(member.get("pending_restart")),
            )
            for member in answer["members"]
        ]


class PatroniConfig(FactBase[dict[str, Any] | None]):
    """Return the live dynamic configuration, as etcd keeps it for all members.

    + url: base URL of a member's REST interface
    """

    @override
    def requires_command(self, url: str) -> str:
        return "curl"

    @override
    def command(self, url: str) -> StringCommand:
        return StringCommand(ASK, QuoteString(f"{url}/config"), "2>/dev/null || echo null")

    @override
    def process(self, output: list[str]) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = json.loads("\n".join(output))
        return answer


class PatroniLoops(FactBase[list[int] | None]):
    """Return when each member last read etcd (seconds since the epoch on its own clock).

    + urls: base URLs of the members' REST interfaces; 0 stands for one that does not answer
    """

    @override
    def command(self, urls: list[str]) -> StringCommand:
        asked = " ".join(f"'{url}/patroni'" for url in urls)
        return StringCommand(
            f"for url in {asked}; do"
            f' {ASK} "$url" 2>/dev/null | grep -o \'"dcs_last_seen": *[0-9]*\' || echo 0; done'
        )

    @override
    def process(self, output: list[str]) -> list[int]:
        return [int(line.rpartition(":")[2]) for line in output]


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
