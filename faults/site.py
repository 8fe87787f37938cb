"""The cluster that faults happen to: who is who now, and the hands that reach its hosts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cluster import ETCDCTL
from identities import ASK

Power = Literal["kill", "start", "pause", "unpause", "stop", "restart"]
STREAMING = (
    "cd / && runuser -u postgres -- psql -XAtqc"
    " \"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'\""
)


class Unreachable(Exception):
    """A host does not answer, or what was asked of it failed there; the message says which."""


class Hands(Protocol):
    """What reaches the hosts of a cluster, by their names."""

    def shell(self, host: str, command: str) -> str:
        """Return what a command prints on a host as root; raises Unreachable."""

    def power(self, host: str, verb: Power) -> None:
        """Do to a host what its power supply or its hypervisor would; raises Unreachable."""

    def local(self, *command: str) -> None:
        """Run a command of this project on the cluster; raises Unreachable with its last words."""


@dataclass(frozen=True)
class Site:
    """Names and addresses, as the inventory has them.

    + scope: the cluster's name
    + nodes, etcd, proxies: address by name of the database, etcd and HAProxy hosts
    + repository: name of the repository host
    + rest_port: of Patroni
    + entrance: the address clients connect to
    """

    hands: Hands
    scope: str
    nodes: Mapping[str, str]
    etcd: Mapping[str, str]
    proxies: Mapping[str, str]
    repository: tuple[str, str]
    entrance: str
    rest_port: int = 8008

    @property
    def addresses(self) -> dict[str, str]:
        """Return the address of every host by its name."""
        name, address = self.repository
        return {**self.nodes, **self.etcd, **self.proxies, name: address}

    def members(self) -> dict[str, dict[str, Any]]:
        """Return Patroni's members by name, as the first one that answers sees them, or {}."""
        for name, address in self.nodes.items():
            url = f"https://{address}:{self.rest_port}/cluster"
            answer = self.ask(name, f"{ASK} {url}")
            if answer:
                return {member["name"]: member for member in json.loads(answer)["members"]}
        return {}

    def ask(self, host: str, command: str) -> str:
        """Return what a command prints on a host, and "" where it fails."""
        try:
            return self.hands.shell(host, command)
        except Unreachable:
            return ""

    def primary(self) -> str:
        """Return the member that leads and runs, or ""."""
        leading = [
            name
            for name, member in self.members().items()
            if member["role"] == "leader" and member["state"] == "running"
        ]
        return leading[0] if len(leading) == 1 else ""

    def timeline(self) -> int:
        """Return the timeline of the primary, or 0."""
        return int(self.members().get(self.primary(), {}).get("timeline") or 0)

    def replication_ailment(self) -> str:
        """Return why not one member leads and all others stream from it, or "".

        Patroni tells what was so in its last loop: PostgreSQL itself is asked, too.
        """
        members, leader = self.members(), self.primary()
        if members.keys() != self.nodes.keys() or not leader:
            return f"Patroni knows {', '.join(members) or 'nobody'}, led by {leader or 'nobody'}"
        for name, member in members.items():
            if name != leader and member["state"] != "streaming":
                return f"{name} is {member['state']}"
            if member.get("timeline") != members[leader].get("timeline"):
                return f"{name} is on timeline {member.get('timeline')}"
        if (streaming := self.ask(leader, STREAMING)) != str(len(self.nodes) - 1):
            return f"{streaming or 'nobody'} streams from {leader}"
        return ""

    def ailment(self) -> str:
        """Return what is not well, or "": replication, etcd, and HAProxy on each of its hosts.

        Where one of them is away, the next fault could be one too many.
        """
        if found := self.replication_ailment():
            return found
        replicas = [member for member in self.members().values() if member["role"] != "leader"]
        if len({member["role"] for member in replicas}) > 1:
            # It streams, and Patroni lets it lead only when it counts among those that confirm.
            return next(f"{one['name']} confirms no commits yet" for one in replicas
                        if one["role"] == "replica")  # fmt: skip
        if len(followed := self.etcd_leaders()) != 1:
            return f"etcd follows {' and '.join(followed) or 'nobody'}"
        for name in self.proxies:
            if not self.ask(name, "systemctl is-active haproxy"):
                return f"HAProxy does not run on {name}"
        return ""

    def is_healthy(self) -> bool:
        """Say whether all is well."""
        return not self.ailment()

    def etcd_leaders(self) -> set[str]:
        """Return whom the members of etcd follow; none or several while they do not agree."""
        status = f"{ETCDCTL} --command-timeout=3s endpoint status --cluster -w json"
        answer = next((said for name in self.etcd if (said := self.ask(name, status))), "[]")
        seen = [
            (entry["Endpoint"].split("//")[-1].rpartition(":")[0], entry["Status"])
            for entry in json.loads(answer)
        ]
        names = {address: name for name, address in self.etcd.items()}
        by_id = {status["header"]["member_id"]: names[address] for address, status in seen}
        followed = {status["leader"] for _, status in seen}
        if len(seen) < len(self.etcd) or not followed <= by_id.keys():
            return set()
        return {by_id[leader] for leader in followed}

    def holder(self) -> str:
        """Return the HAProxy host that has the entrance's address, or the first one."""
        has = f"ip -o -4 address show to {self.entrance} | grep -q . && echo yes"
        holders = [name for name in self.proxies if self.ask(name, has)]
        return holders[0] if holders else next(iter(self.proxies))
