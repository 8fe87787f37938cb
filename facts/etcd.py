"""What an etcd cluster says of itself; None means that no quorum answered."""

import json
from typing import Any, TypedDict, TypeVar

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from cluster import ETCDCTL
from identities import AUTHORITY, Identity

T = TypeVar("T")


class _Etcdctl(FactBase[T]):
    """Asks etcdctl a question; it always succeeds, so that no answer is an answer too."""

    abstract = True
    question: str
    form = "-w json "

    @override
    def requires_command(self, endpoints: str) -> str:
        return ETCDCTL

    @override
    def command(self, endpoints: str) -> StringCommand:
        return StringCommand(
            f"{ETCDCTL} --dial-timeout=2s --command-timeout=5s {self.form}--endpoints",
            QuoteString(endpoints),
            self.question,
        )


class Member(TypedDict):
    """One listed member; `id` in hexadecimal as etcdctl takes it, `name` empty before its start."""

    id: str
    name: str
    peer_url: str


class EtcdMembers(_Etcdctl[list[Member] | None]):
    """Return the members as a cluster with a quorum lists them, or None when none answers.

    + endpoints: client URLs, separated by commas
    """

    question = "member list 2>/dev/null || echo null"

    @override
    def process(self, output: list[str]) -> list[Member] | None:
        answer: dict[str, Any] | None = json.loads(output[-1])
        if answer is None:
            return None
        return [
            Member(
                id=f"{member['ID']:x}",
                name=member.get("name", ""),
                peer_url=(member.get("peerURLs") or [""])[0],
            )
            for member in answer["members"]
        ]


class EtcdHealth(_Etcdctl[dict[str, bool] | None]):
    """Return for each endpoint whether it commits a proposal, or None without etcdctl.

    + endpoints: client URLs, separated by commas
    """

    question = "endpoint health 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        return {item["endpoint"]: item["health"] for item in json.loads(output[-1])}


class EtcdStatus(_Etcdctl[list[dict[str, Any]]]):
    """Return endpoint, leader, version and database size of each endpoint that answers.

    + endpoints: client URLs, separated by commas
    """

    default = list

    question = "endpoint status 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "endpoint": item["Endpoint"],
                "is_leader": item["Status"]["leader"] == item["Status"]["header"]["member_id"],
                "version": item["Status"]["version"],
                "db_bytes": item["Status"]["dbSize"],
            }
            for item in json.loads(output[-1])
        ]


class EtcdAlarms(_Etcdctl[list[str] | None]):
    """Return the alarms that are raised, such as "NOSPACE", or None when no quorum answers.

    + endpoints: client URLs, separated by commas
    """

    question = "alarm list 2>/dev/null && echo end || echo null"
    form = ""

    @override
    def process(self, output: list[str]) -> list[str] | None:
        if output[-1] != "end":
            return None
        return [line.rpartition("alarm:")[2].strip() for line in output[:-1] if "alarm:" in line]


class EtcdGuard(FactBase[bool | None]):
    """Return whether etcd asks everybody for a password, or None when no quorum answers.

    + endpoints: client URLs, separated by commas
    + here: name of a member's host, whose certificate is shown

    It asks without a password: `auth status`, which would tell, came with etcd 3.5 only.
    """

    @override
    def requires_command(self, endpoints: str, here: str) -> str:
        return "etcdctl"

    @override
    def command(self, endpoints: str, here: str) -> StringCommand:
        identity = Identity("etcd", here)
        return StringCommand(
            f"etcdctl --cacert={AUTHORITY} --cert={identity.certificate} --key={identity.key}"
            " --dial-timeout=2s --command-timeout=5s --endpoints",
            QuoteString(endpoints),
            "user list 2>&1 >/dev/null && echo open || true",
        )

    @override
    def process(self, output: list[str]) -> bool | None:
        if any(line.endswith("etcdserver: user name is empty") for line in output):
            return True
        return False if output[-1:] == ["open"] else None


class EtcdUserNames(_Etcdctl[list[str] | None]):
    """Return the users' names, or None when no quorum answers or the password is refused.

    + endpoints: client URLs, separated by commas
    """

    question = "user list 2>/dev/null && echo end || echo null"
    form = ""

    @override
    def process(self, output: list[str]) -> list[str] | None:
        return output[:-1] if output[-1] == "end" else None


class EtcdUsers(_Etcdctl[dict[str, list[str]] | None]):
    """Return the roles of each user, or None when no quorum answers or the password is refused.

    + endpoints: client URLs, separated by commas
    """

    @override
    def command(self, endpoints: str) -> StringCommand:
        return StringCommand(
            f"ask() {{ {ETCDCTL} --dial-timeout=2s --command-timeout=5s --endpoints",
            QuoteString(endpoints),
            # Silence is no user without a role: what one does not say, nobody knows.
            'user "$@" 2>/dev/null; }; names=$(ask list) || names=null; for name in $names;'
            ' do said=$(ask get "$name") || name=null;'
            ' echo "$name" $(echo "$said" | sed -n "s/^Roles: *//p"); done',
        )

    @override
    def process(self, output: list[str]) -> dict[str, list[str]] | None:
        found = {name: roles for name, *roles in (line.split() for line in output if line.strip())}
        return None if "null" in found else found
