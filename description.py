"""From an inventory to a Cluster: what hosts and settings say, refused where it cannot be meant.

The rules that hold between hosts stand here, those between settings in settings.py. It knows no
pyinfra and does no I/O.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any, TypeVar

from pydantic import ValidationError

import timing
from backup_repositories import unfit_repository
from backup_settings import Pgbackrest
from certificates import COMMON_NAME_LIMIT
from cluster import GROUPS, SSH_PORT, Cluster, Host
from setting_types import Component, SettingsError
from settings import (
    COMPONENTS,
    KNOWN_NAMES,
    App,
    Etcd,
    General,
    Haproxy,
    Packages,
    Patroni,
    Pgbouncer,
    Postgresql,
    Tls,
    Verify,
)

C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class HostData:
    """What the inventory says of one host: its groups, in any order, and its data."""

    name: str
    groups: frozenset[str]
    data: Mapping[str, Any]


def describe(hosts: Iterable[HostData]) -> Cluster:
    """Return the validated cluster; raises SettingsError with the first fault and a HINT."""
    found = list(hosts)
    for host in found:
        _refuse_stranger(host)
        _refuse_unknown_names(set(host.data))
    members = tuple(_host(host) for host in found)
    _refuse_unfit_groups(members)
    _refuse_doubles(members)
    cluster = Cluster(
        members,
        general=_settings(General, found),
        tls=_settings(Tls, found),
        packages=_settings(Packages, found),
        etcd=_settings(Etcd, found),
        patroni=_settings(Patroni, found),
        postgresql=_settings(Postgresql, found),
        app=_settings(App, found),
        haproxy=_settings(Haproxy, found),
        pgbouncer=_settings(Pgbouncer, found),
        pgbackrest=_settings(Pgbackrest, found),
        verify=_settings(Verify, found),
    )
    for member in members:
        _refuse_port_clashes(cluster, member)
    _refuse_shared_directories(cluster)
    _refuse_long_common_names(cluster)
    _refuse_unfit_virtual_ip(cluster)
    _refuse_strict_alone(cluster)
    return cluster


# --- reading ----------------------------------------------------------------------------------


def _host(host: HostData) -> Host:
    address = host.data.get("address", host.data.get("ssh_hostname", host.name))
    if re.search(r"[\s,=\"']", host.name):
        raise SettingsError(
            f"the host name {host.name!r} cannot stand in configuration files",
            "use letters, digits, dots and dashes.",
        )
    if not _is_for_others(str(address)):
        raise SettingsError(
            f"the address of {host.name}, {address!r}, is not an IPv4 address for others",
            f'write ("{host.name}", {{"address": "10.0.0.11"}}) with the right one.',
        )
    ssh_port = host.data.get("ssh_port", SSH_PORT)
    if not (type(ssh_port) is int and 1 <= ssh_port <= 65535):  # True is no port
        raise SettingsError(
            f"the ssh_port of {host.name}, {ssh_port!r}, is not a port", "it takes 1 to 65535."
        )
    return Host(host.name, str(address), host.groups & set(GROUPS), ssh_port)


def _is_for_others(address: str) -> bool:
    try:
        ip = IPv4Address(address)
    except AddressValueError:
        return False
    special = ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_multicast
    return not (special or ip.is_reserved)


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
    return _read(component, group[0].data)


def _read(model: type[C], values: Mapping[str, Any]) -> C:
    """Return one component's settings from flat names; raises SettingsError for the first fault."""
    values = timing.filled(values)
    fields = {field: model.prefix + field for field in model.model_fields}
    if missing := [name for name in fields.values() if name not in values]:
        raise SettingsError(
            f"setting {missing[0]} is missing", "group_data/all.py has its default."
        )
    try:
        return model(**{field: values[name] for field, name in fields.items()})
    except ValidationError as error:
        raise _one_line(model, error) from None


def _one_line(model: type[Component], error: ValidationError) -> SettingsError:
    fault = error.errors()[0]
    rule = fault.get("ctx", {}).get("error")
    if isinstance(rule, SettingsError):  # a rule of settings.py says all of it itself
        return rule
    field, *within = fault["loc"]
    if (model, field) == (Pgbackrest, "repositories") and within:
        return unfit_repository(fault)
    key = f".{within[0]!r}".replace("'", "") if within and isinstance(within[0], str) else ""
    return SettingsError(
        f"{model.prefix}{field}{key} cannot be {fault['input']!r}",
        f"it takes {model.model_fields[str(field)].description}.",
    )


# --- refusing ---------------------------------------------------------------------------------

# What an administrator changes when two want one port, by the purpose of each.
PORT_SETTINGS = {
    "SSH": "ssh_port",
    "etcd clients": "etcd_client_port",
    "etcd peers": "etcd_peer_port",
    "Patroni REST": "patroni_rest_port",
    "PostgreSQL": "postgresql_port",
    "writes": "haproxy_rw_port",
    "reads": "haproxy_ro_port",
    "pooled writes": "pgbouncer_port",
    "HAProxy statistics": "haproxy_stats_port",
    "pgBackRest": "pgbackrest_tls_port",
}


def _refuse_stranger(host: HostData) -> None:
    """Refuse a host that nothing would be done for, most likely by a misspelt group."""
    if host.groups & set(GROUPS):
        return
    near = [
        right
        for group in sorted(host.groups)
        for right in difflib.get_close_matches(group, GROUPS, n=1)
    ]
    raise SettingsError(
        f"{host.name} is in none of the groups {', '.join(GROUPS)}",
        f"did you mean the group {near[0]}?" if near else "give it an inventory of its own.",
    )


def _refuse_unknown_names(names: set[str]) -> None:
    """Refuse a name that looks like a setting and is none; raises SettingsError."""
    prefixes = tuple(c.prefix for c in COMPONENTS)
    for name in sorted(names - KNOWN_NAMES):
        near = difflib.get_close_matches(name, KNOWN_NAMES, n=1, cutoff=0.8)
        if near or name.startswith(prefixes):
            hint = f"did you mean {near[0]}?" if near else "group_data/all.py lists every setting."
            raise SettingsError(f"unknown setting {name}", hint)


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


def _refuse_unfit_virtual_ip(cluster: Cluster) -> None:
    virtual_ip = cluster.haproxy.virtual_ip
    if virtual_ip is None:
        return
    if not _is_for_others(virtual_ip):
        raise SettingsError(
            f"haproxy_virtual_ip, {virtual_ip}, is not an address for others",
            "take one of the network that the HAProxy hosts are in.",
        )
    if len(cluster.haproxy_hosts) == 1:
        raise SettingsError(
            f"haproxy_virtual_ip is {virtual_ip}, and there is one HAProxy host to have it",
            "name another in the group haproxy, or leave it at None.",
        )
    for host in cluster.hosts:
        if host.address == virtual_ip:
            raise SettingsError(
                f"haproxy_virtual_ip, {virtual_ip}, is the address of {host.name}",
                "take one that no host has.",
            )


def _refuse_strict_alone(cluster: Cluster) -> None:
    if cluster.general.durability == "strict" and len(cluster.postgres_members) == 1:
        raise SettingsError(
            f"cluster_durability is strict, and {cluster.postgres_members[0].name} has no replica"
            " to confirm a commit: each would wait for ever",
            "take quorum, or name more hosts in the group postgres.",
        )


def _refuse_port_clashes(cluster: Cluster, host: Host) -> None:
    ports = [("SSH", host.ssh_port)] + [(o.purpose, o.port) for o in cluster.openings(host)]
    if host.is_haproxy:
        ports.append(("HAProxy statistics", cluster.haproxy.stats_port))
    taken: dict[int, str] = {}
    for purpose, port in ports:
        if port in taken:
            raise SettingsError(
                f"port {port} of {host.name} is wanted by {taken[port]} and {purpose}",
                f"change {PORT_SETTINGS[taken[port]]} or {PORT_SETTINGS[purpose]}.",
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


def _refuse_long_common_names(cluster: Cluster) -> None:
    """Refuse a name that does not fit into a certificate where pgBackRest needs it there."""
    for host in cluster.hosts:
        for identity in cluster.identities(host):
            if identity.subject.is_common and len(identity.common_name) > COMMON_NAME_LIMIT:
                raise SettingsError(
                    f"the host name {host.name!r} is too long for pgbackrest_transport tls:"
                    f" {identity.common_name} has more than {COMMON_NAME_LIMIT} characters",
                    "give it a shorter name, or leave pgbackrest_transport at ssh.",
                )
