"""What should be: the hosts and settings as one frozen, validated value, and all that follows.

Who talks to whom is written down here once; firewall rules, pg_hba, HAProxy's servers and the
proofs are derived from it. This module knows no pyinfra and does no I/O.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from settings import (
    App,
    C,
    Etcd,
    General,
    Haproxy,
    Packages,
    Patroni,
    Pgbackrest,
    Postgresql,
    SettingsError,
    Verify,
    read,
    refuse_unknown_names,
)

GROUPS = ("etcd", "postgres", "haproxy", "pgbackrest")
SSH_PORT = 22
SOCKET_DIR = "/run/postgresql"


@dataclass(frozen=True)
class Host:
    """One host of the inventory."""

    name: str
    address: str
    groups: frozenset[str]
    ssh_port: int = SSH_PORT

    @property
    def is_postgres(self) -> bool:
        return "postgres" in self.groups

    @property
    def is_etcd(self) -> bool:
        return "etcd" in self.groups

    @property
    def is_haproxy(self) -> bool:
        return "haproxy" in self.groups

    @property
    def is_repository(self) -> bool:
        return "pgbackrest" in self.groups


@dataclass(frozen=True)
class Opening:
    """One TCP port of a host, and the networks (CIDR) that may reach it."""

    port: int
    purpose: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """The whole cluster; make one with `describe`, which validates it."""

    hosts: tuple[Host, ...]
    general: General
    packages: Packages
    etcd: Etcd
    patroni: Patroni
    postgresql: Postgresql
    app: App
    haproxy: Haproxy
    pgbackrest: Pgbackrest
    verify: Verify

    # --- who is who ---------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def group(self, name: str) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if name in host.groups)

    @property
    def etcd_members(self) -> tuple[Host, ...]:
        return self.group("etcd")

    @property
    def postgres_members(self) -> tuple[Host, ...]:
        return self.group("postgres")

    @property
    def haproxy_hosts(self) -> tuple[Host, ...]:
        return self.group("haproxy")

    @property
    def repository(self) -> Host:
        return self.group("pgbackrest")[0]

    @property
    def stanza(self) -> str:
        return self.general.name

    # --- addresses ----------------------------------------------------------------------------

    def etcd_client_url(self, host: Host) -> str:
        return f"http://{host.address}:{self.etcd.client_port}"

    def etcd_peer_url(self, host: Host) -> str:
        return f"http://{host.address}:{self.etcd.peer_port}"

    @property
    def etcd_endpoints(self) -> str:
        return ",".join(self.etcd_client_url(host) for host in self.etcd_members)

    def rest_url(self, host: Host) -> str:
        return f"http://{host.address}:{self.patroni.rest_port}"

    # --- who talks to whom --------------------------------------------------------------------

    def openings(self, host: Host) -> tuple[Opening, ...]:
        """Return every port of `host` that others use, and who may; SSH is not among them."""
        members, etcd = _cidrs(self.postgres_members), _cidrs(self.etcd_members)
        proxies, repository = _cidrs(self.haproxy_hosts), _cidrs([self.repository])
        found = []
        if host.is_etcd:
            found += [
                Opening(self.etcd.client_port, "etcd clients", _merge(etcd, members)),
                Opening(self.etcd.peer_port, "etcd peers", etcd),
            ]
        if host.is_postgres:
            found += [
                Opening(self.patroni.rest_port, "Patroni REST", _merge(members, proxies)),
                Opening(self.postgresql.port, "PostgreSQL", _merge(members, proxies, repository)),
            ]
        if host.is_haproxy:
            clients = tuple(str(network) for network in self.general.client_networks)
            found += [
                Opening(self.haproxy.rw_port, "writes", clients),
                Opening(self.haproxy.ro_port, "reads", clients),
            ]
        return tuple(found)

    def pg_hba(self) -> tuple[str, ...]:
        """Return pg_hba.conf's lines: the superuser by local socket, roles from where they act."""
        own_roles = ["postgres", "replicator", "rewind_user"]
        lines = [
            "local all postgres peer",
            "local all all scram-sha-256",
            # A replica's Patroni asks its own PostgreSQL for the timeline this way.
            "local replication replicator scram-sha-256",
        ]
        for network in _cidrs(self.postgres_members):
            lines += [
                f"host replication replicator {network} scram-sha-256",
                f"host postgres rewind_user {network} scram-sha-256",
            ]
        for network in _cidrs(self.haproxy_hosts):
            lines += [
                f"host all {','.join(own_roles)} {network} reject",
                f"host all all {network} scram-sha-256",
            ]
        return tuple(lines)

    def dynamic_configuration(self) -> dict[str, Any]:
        """Return what Patroni keeps in etcd for all members (the DCS configuration)."""
        # One WAL sender and slot per member, twice over for base backups and rebuilt replicas; 20
        # from the start, since a change costs every member a restart.
        streams = max(20, 2 * len(self.postgres_members) + 2)
        parameters: dict[str, Any] = {
            "wal_level": "replica",
            "hot_standby": "on",
            "max_wal_senders": streams,
            "max_replication_slots": streams,
            "password_encryption": "scram-sha-256",
            "archive_mode": "on",
            # No archive-push-queue-max: while the repository is away WAL stays, none is dropped.
            "archive_command": f"pgbackrest --stanza={self.stanza} archive-push %p",
        }
        return {
            "ttl": self.patroni.ttl,
            "loop_wait": self.patroni.loop_wait,
            "retry_timeout": self.patroni.retry_timeout,
            "maximum_lag_on_failover": self.patroni.maximum_lag_on_failover,
            "postgresql": {
                "use_pg_rewind": True,
                "use_slots": True,
                "parameters": {**parameters, **self.postgresql.parameters},
            },
        }


def _cidrs(hosts: Iterable[Host]) -> tuple[str, ...]:
    return tuple(f"{host.address}/32" for host in hosts)


def _merge(*networks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(network for group in networks for network in group))


# --- from an inventory to a Cluster -----------------------------------------------------------


@dataclass(frozen=True)
class HostData:
    """What the inventory says of one host: its groups, in any order, and its data."""

    name: str
    groups: frozenset[str]
    data: Mapping[str, Any]


def describe(hosts: Iterable[HostData]) -> Cluster:
    """Return the validated cluster; raises SettingsError with the first fault and a HINT."""
    found = [host for host in hosts if host.groups & set(GROUPS)]
    for host in found:
        refuse_unknown_names(set(host.data))
    members = tuple(_host(host) for host in found)
    _refuse_unfit_groups(members)
    _refuse_doubles(members)
    cluster = Cluster(
        members,
        general=_settings(General, found),
        packages=_settings(Packages, found),
        etcd=_settings(Etcd, found),
        patroni=_settings(Patroni, found),
        postgresql=_settings(Postgresql, found),
        app=_settings(App, found),
        haproxy=_settings(Haproxy, found),
        pgbackrest=_settings(Pgbackrest, found),
        verify=_settings(Verify, found),
    )
    for member in members:
        _refuse_port_clashes(cluster, member)
    _refuse_shared_directories(cluster)
    return cluster


def _host(host: HostData) -> Host:
    address = str(host.data.get("address") or host.data.get("ssh_hostname") or host.name)
    if re.search(r"[\s,=\"']", host.name):
        raise SettingsError(
            f"the host name {host.name!r} cannot stand in configuration files",
            "use letters, digits, dots and dashes.",
        )
    try:
        usable = not (IPv4Address(address).is_loopback or IPv4Address(address).is_unspecified)
    except AddressValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"the address of {host.name}, {address!r}, is not an IPv4 address for others",
            f'write ("{host.name}", {{"address": "10.0.0.11"}}) with the right one.',
        )
    ssh_port = host.data.get("ssh_port", SSH_PORT)
    if not (isinstance(ssh_port, int) and 1 <= ssh_port <= 65535):
        raise SettingsError(
            f"the ssh_port of {host.name}, {ssh_port!r}, is not a port", "it takes 1 to 65535."
        )
    return Host(host.name, address, host.groups & set(GROUPS), ssh_port)


def _settings(component: type[C], hosts: list[HostData]) -> C:
    """Return one component's settings, which must be the same on all hosts of its group."""
    group = [h for h in hosts if not component.group or component.group in h.groups]
    for field in component.model_fields:
        name = component.prefix + field
        for other in group[1:]:
            if other.data.get(name) != group[0].data.get(name):
                raise SettingsError(
                    f"{name} is {group[0].data.get(name)!r} on {group[0].name} "
                    f"and {other.data.get(name)!r} on {other.name}",
                    "one cluster has one value: set it in group_data/all.py.",
                )
    return read(component, group[0].data)


def _refuse_unfit_groups(members: tuple[Host, ...]) -> None:
    for group in GROUPS:
        if not any(group in member.groups for member in members):
            raise SettingsError(
                f"the group {group} is missing or empty", "name its hosts in the inventory."
            )
    etcd = [member for member in members if member.is_etcd]
    if len(etcd) % 2 == 0:
        raise SettingsError(
            f"etcd has {len(etcd)} members, an even number",
            "take one more or one less: an even member adds no safety, only another that can fail.",
        )
    repositories = [member for member in members if member.is_repository]
    if len(repositories) > 1:
        raise SettingsError(
            f"the group pgbackrest has {len(repositories)} hosts", "name one repository host."
        )
    if repositories[0].is_postgres:
        raise SettingsError(
            f"{repositories[0].name} is in the groups postgres and pgbackrest",
            "backups must outlive a database host: give the repository a host of its own.",
        )


def _refuse_doubles(members: tuple[Host, ...]) -> None:
    for what, values in (
        ("name", [member.name for member in members]),
        ("address", [member.address for member in members]),
    ):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise SettingsError(f"two hosts have the {what} {value}", "each needs its own.")


def _refuse_port_clashes(cluster: Cluster, host: Host) -> None:
    ports = [("SSH", host.ssh_port)] + [(o.purpose, o.port) for o in cluster.openings(host)]
    if host.is_haproxy:
        ports.append(("HAProxy statistics", cluster.haproxy.stats_port))
    taken: dict[int, str] = {}
    for purpose, port in ports:
        if port in taken:
            raise SettingsError(
                f"port {port} of {host.name} is wanted by {taken[port]} and {purpose}",
                "change one of the two in group_data/all.py.",
            )
        taken[port] = purpose


def _refuse_shared_directories(cluster: Cluster) -> None:
    """Refuse a data directory within another's: each belongs to its own user."""
    etcd, data = f"{cluster.etcd.data_dir}/", f"{cluster.postgresql.data_dir}/"
    if etcd.startswith(data) or data.startswith(etcd):
        raise SettingsError(
            f"etcd_data_dir ({etcd[:-1]}) and postgresql_data_dir ({data[:-1]}) hold each other",
            "give each a directory of its own.",
        )
