"""What should be: the hosts and settings as one frozen, validated value, and all that follows.

Who talks to whom is written down here once; firewall rules, pg_hba, HAProxy's servers and the
proofs are derived from it. This module knows no pyinfra and does no I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import durability
from backup_settings import Pgbackrest
from identities import AUTHORITY, Identity
from settings import (
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

GROUPS = ("etcd", "postgres", "haproxy", "pgbackrest")
SSH_PORT = 22
SOCKET_DIR = "/run/postgresql"
IDENT_MAP, LOCAL_MAP = "pgha", "pgha-local"
ARCHIVE_GET = "/usr/local/bin/pgha-archive-get"
REPLICA_FILL = "/usr/local/bin/pgha-replica-fill"
# `pgbackrest check` refuses an archive_command without its name.
ARCHIVE_PUSH = "/usr/local/bin/pgha-pgbackrest-push"
# etcdctl with certificate and password, as the deploy puts it there for root (pgha-etcdctl.j2).
ETCDCTL = "/usr/local/sbin/pgha-etcdctl"


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
    """The whole cluster; made by `description.describe`, which validates it."""

    hosts: tuple[Host, ...]
    general: General
    tls: Tls
    packages: Packages
    etcd: Etcd
    patroni: Patroni
    postgresql: Postgresql
    app: App
    haproxy: Haproxy
    pgbouncer: Pgbouncer
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

    def backup_peers(self, host: Host) -> tuple[Host, ...]:
        """Return whom pgBackRest of `host` calls and is called by."""
        return self.postgres_members if host.is_repository else (self.repository,)

    @property
    def stanza(self) -> str:
        return self.general.name

    # --- addresses ----------------------------------------------------------------------------

    def etcd_client_url(self, host: Host) -> str:
        return f"https://{host.address}:{self.etcd.client_port}"

    def etcd_peer_url(self, host: Host) -> str:
        return f"https://{host.address}:{self.etcd.peer_port}"

    @property
    def etcd_endpoints(self) -> str:
        return ",".join(self.etcd_client_url(host) for host in self.etcd_members)

    def rest_url(self, host: Host) -> str:
        return f"https://{host.address}:{self.patroni.rest_port}"

    @property
    def direct_networks(self) -> tuple[str, ...]:
        """Return the networks whose clients may connect to the members themselves."""
        return tuple(str(network) for network in self.postgresql.client_networks)

    @property
    def entrances(self) -> tuple[str, ...]:
        """Return the addresses that clients connect to: the HAProxy hosts' and the virtual one."""
        virtual_ip = self.haproxy.virtual_ip
        own = tuple(proxy.address for proxy in self.haproxy_hosts)
        return (*own, virtual_ip) if virtual_ip else own

    def vrrp_peers(self, host: Host) -> tuple[str, ...]:
        """Return the addresses of those that `host` shares the virtual IP with."""
        if not (host.is_haproxy and self.haproxy.virtual_ip):
            return ()
        return tuple(proxy.address for proxy in self.haproxy_hosts if proxy != host)

    def identities(self, host: Host) -> tuple[Identity, ...]:
        """Return whom the services of `host` prove to be; Patroni shows what PostgreSQL shows."""
        dns: tuple[str, ...] = (host.name, "localhost")
        addresses: tuple[str, ...] = (host.address, "127.0.0.1")
        found = []
        if host.is_etcd:
            found.append(Identity("etcd", host.name, dns, addresses))
        if host.is_postgres:
            # HAProxy passes TLS through: whoever connects to it checks PostgreSQL's certificate.
            names = _merge(dns, tuple(proxy.name for proxy in self.haproxy_hosts))
            where = _merge(addresses, self.entrances)
            found.append(Identity("postgres", host.name, names, where))
        if self.pgbackrest.transport == "tls" and (host.is_postgres or host.is_repository):
            found.append(Identity("pgbackrest", host.name, dns, addresses))
        if host.is_haproxy:
            virtual = (self.haproxy.virtual_ip,) if self.haproxy.virtual_ip else ()
            found.append(Identity("pgbouncer", host.name, dns, (*addresses, *virtual)))
        return tuple(found)

    def servers(self, identity: Identity) -> dict[int, str]:
        """Return the ports that show a certificate until they are told of a new one.

        Each with openssl's name of what is spoken before TLS. etcd is not among them: it reads its
        certificate at each handshake.
        """
        return {
            "etcd": {},
            "postgres": {self.postgresql.port: "postgres", self.patroni.rest_port: ""},
            "pgbackrest": {self.pgbackrest.tls_port: ""},
            "pgbouncer": {self.pgbouncer.port: "postgres"},
        }[identity.service]

    # --- who talks to whom --------------------------------------------------------------------

    def openings(self, host: Host) -> tuple[Opening, ...]:
        """Return every port of `host` that others use, and who may; SSH is not among them."""
        members, etcd = _cidrs(self.postgres_members), _cidrs(self.etcd_members)
        proxies, repository = _cidrs(self.haproxy_hosts), _cidrs([self.repository])
        direct = self.direct_networks
        found = []
        if host.is_etcd:
            found += [
                Opening(self.etcd.client_port, "etcd clients", _merge(etcd, members)),
                Opening(self.etcd.peer_port, "etcd peers", etcd),
            ]
        if host.is_postgres:
            found += [
                Opening(self.patroni.rest_port, "Patroni REST", _merge(members, proxies)),
                Opening(
                    self.postgresql.port,
                    "PostgreSQL",
                    _merge(members, proxies, repository, direct),
                ),
            ]
        if self.pgbackrest.transport == "tls" and (host.is_postgres or host.is_repository):
            peers = _cidrs(self.backup_peers(host))
            found.append(Opening(self.pgbackrest.tls_port, "pgBackRest", peers))
        if host.is_haproxy:
            clients = tuple(str(network) for network in self.general.client_networks)
            found += [
                Opening(self.haproxy.rw_port, "writes", clients),
                Opening(self.haproxy.ro_port, "reads", clients),
                Opening(self.pgbouncer.port, "pooled writes", clients),
            ]
        return tuple(found)

    def pg_hba(self) -> tuple[str, ...]:
        """Return pg_hba.conf's lines: the superuser by local socket, roles from where they act."""
        own_roles = ["postgres", "replicator", "rewind_user", "pgbouncer"]
        lines = [
            "local all postgres peer",
            "local all all scram-sha-256",
            # A replica's Patroni asks its own PostgreSQL for the timeline this way, and what was
            # restored has the passwords of then.
            f"local replication replicator peer map={LOCAL_MAP}",
        ]
        for network in _cidrs(self.postgres_members):
            lines += [
                f"hostssl replication replicator {network} scram-sha-256",
                f"hostssl postgres rewind_user {network} scram-sha-256",
            ]
        # day2/restore_table.py loads what it has brought back as the application's role.
        only = f"{self.app.database} {self.app.role} {self.repository.address}/32"
        lines.append(f"hostssl {only} scram-sha-256")
        proxies = _cidrs(self.haproxy_hosts)
        for network in (*proxies, *self.direct_networks):
            if network in proxies:
                # PgBouncer asks for verifiers, and proves itself by its certificate alone.
                way = f"cert clientname=DN map={IDENT_MAP}"
                lines.append(f"hostssl postgres pgbouncer {network} {way}")
            lines += [
                f"hostssl all {','.join(own_roles)} {network} reject",
                f"hostssl all all {network} scram-sha-256",
            ]
        return tuple(lines)

    def pg_ident(self) -> tuple[str, ...]:
        """Return pg_ident.conf's lines: who is which role without a password."""
        names = [
            identity.subject.name
            for proxy in self.haproxy_hosts
            for identity in self.identities(proxy)
            if identity.service == "pgbouncer"
        ]
        pooled = (f'{IDENT_MAP} "OU={name}" pgbouncer' for name in names)
        return (f"{LOCAL_MAP} postgres replicator", *pooled)

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
            "ssl": "on",
            "ssl_min_protocol_version": "TLSv1.2",
            "ssl_ca_file": AUTHORITY,
            "ssl_cert_file": Identity("postgres", "").certificate,
            "ssl_key_file": Identity("postgres", "").key,
            "archive_mode": "on",
            # No archive-push-queue-max: while the repository is away WAL stays, none is dropped.
            "archive_command": f'{ARCHIVE_PUSH} "%p"',
            # Beyond this a lost replica's WAL goes; it finds the rest in the archive.
            "max_slot_wal_keep_size": f"{self.postgresql.max_slot_wal_keep_mib}MB",
            # A replica looks for a lost primary this often. No commit of a new one is acknowledged
            # before a replica has found it; PostgreSQL's own 5s would be most of a switchover.
            "wal_retrieve_retry_interval": "500ms",
            # A primary that is cut off stops when it has given up its replicas, and a replica looks
            # for the primary anew when it has given that up: after PostgreSQL's own 60s else.
            "wal_sender_timeout": f"{self.patroni.ttl}s",
            "wal_receiver_timeout": f"{self.patroni.ttl}s",
        }
        return {
            "ttl": self.patroni.ttl,
            "loop_wait": self.patroni.loop_wait,
            "retry_timeout": self.patroni.retry_timeout,
            "maximum_lag_on_failover": self.patroni.maximum_lag_on_failover,
            **durability.LEVELS[self.general.durability],
            "failsafe_mode": True,
            "check_timeline": True,
            "member_slots_ttl": "30min",
            "postgresql": {
                "use_pg_rewind": True,
                "use_slots": True,
                "recovery_conf": {"restore_command": f'{ARCHIVE_GET} %f "%p"'},
                "parameters": {**parameters, **self.postgresql.parameters},
            },
        }


def _cidrs(hosts: Iterable[Host]) -> tuple[str, ...]:
    return tuple(f"{host.address}/32" for host in hosts)


def _merge(*networks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(network for group in networks for network in group))
