"""The proofs of the ways in and out: routing, archive and backups."""

import time
from collections.abc import Callable
from io import StringIO

from pyinfra import host, inventory, state
from pyinfra.api import operation

from cluster import Cluster, Host
from credentials import Secrets
from facts.archive import ArchivedSegment, BackupCheck, SwitchedWal
from facts.component import Component
from facts.network import InterfaceOf
from facts.patroni_views import PatroniViews, View
from facts.pgbackrest import PgbackrestInfo
from facts.routing import RoutedSessions, Session
from operations import (
    Commands,
    backup_places,
    backup_proofs,
    judgement,
    judgement_access,
    report,
)
from operations.judgement import Proof
from platforms import Platform

# Archiving takes a second; an asynchronous archiver that is behind gets a minute.
ARCHIVE_SECONDS = 60.0
# Whether WAL arrives at all is a proof of its own: `check` need not wait again when that failed.
CHECK_SECONDS, CHECK_SECONDS_WITHOUT_ARCHIVE = 60, 2
# A busy HAProxy deals its turns to others too, and a busy replica may tell too late that it
# streams: rounds before one counts as missing.
ROUNDS_OF_READS = 3


@operation()
def routing(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> Commands:
    """
    Prove that this HAProxy leads writers to the leader, and readers to each replica in turn.

    + cluster: the whole cluster
    + here: an HAProxy host
    + platform: of that host
    + secrets: the cluster's passwords

    **Example:**

    .. code:: python

        proofs_access.routing(
            name="Prove routing", cluster=cluster, here=here, platform=platform, secrets=secrets
        )
    """

    def ask(port: int, times: int) -> list[Session]:
        return _sessions(cluster, platform, secrets, here.address, port, times)

    if state.is_executing:
        members = judgement.answering(cluster, views(cluster))
        sessions = ask(cluster.haproxy.rw_port, 1)
        report.record(judgement_access.writes(cluster, here, members, sessions))
        sessions = ask(cluster.pgbouncer.port, 1)
        report.record(judgement_access.pooled(cluster, here, members, sessions))
        report.record(_reads(cluster, here, ask))
    host.noop("proofs change nothing")
    yield from ()


@operation()
def address(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> Commands:
    """
    See whether this HAProxy host has the virtual IP, and connect to it.

    + cluster: the whole cluster
    + here: an HAProxy host
    + platform: of that host
    + secrets: the cluster's passwords

    **Example:**

    .. code:: python

        proofs_access.address(
            name="Prove the virtual IP", cluster=cluster, here=here, platform=platform,
            secrets=secrets,
        )
    """
    virtual_ip = cluster.haproxy.virtual_ip
    if state.is_executing and virtual_ip:
        has_it = host.get_fact(InterfaceOf, address=virtual_ip)
        report.HOLDERS[here.name] = bool(has_it)
        report.VIRTUAL_SESSIONS.extend(
            _sessions(cluster, platform, secrets, virtual_ip, cluster.haproxy.rw_port, 1)
        )
    host.noop("proofs change nothing")
    yield from ()


@operation()
def archiving(cluster: Cluster, platform: Platform) -> Commands:
    """
    Prove that WAL is archived: end a segment on the primary, and wait for it in the repository.

    + cluster: the whole cluster
    + platform: of the hosts

    **Example:**

    .. code:: python

        proofs_access.archiving(name="Prove archiving", cluster=cluster, platform=platform)
    """
    if state.is_executing:
        started = time.monotonic()
        segment, file = switched_wal(cluster, platform), None
        while segment and not file and time.monotonic() - started < ARCHIVE_SECONDS:
            file = host.get_fact(ArchivedSegment, stanza=cluster.stanza, segment=segment)
            if not file:
                time.sleep(0.3)
        left_out = [m.name for m in cluster.postgres_members if not report.takes_part(m)]
        waited = time.monotonic() - started
        report.record(judgement_access.archiving(segment, file, waited, left_out))
    host.noop("proofs change nothing")
    yield from ()


@operation()
def backup(cluster: Cluster) -> Commands:
    """
    Prove that pgBackRest's check passes, that there is a backup, and that timers take the next.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        proofs_access.backup(name="Prove backups", cluster=cluster)
    """
    if state.is_executing:
        names = [*backup_places.timers(cluster), *backup_proofs.TIMERS]
        names += [name.replace(".timer", ".service") for name in names]
        found = host.get_fact(Component, paths=[], units=names)
        report.record(
            judgement_access.backup(
                host.get_fact(PgbackrestInfo, stanza=cluster.stanza),
                host.get_fact(
                    BackupCheck,
                    stanza=cluster.stanza,
                    seconds=CHECK_SECONDS_WITHOUT_ARCHIVE
                    if report.failed("archiving")
                    else CHECK_SECONDS,
                ),
                found["units"] if found else None,
                time.time(),
                {
                    one.name: one.maximum_backup_hours or cluster.verify.maximum_backup_hours
                    for one in cluster.pgbackrest.all_repositories
                },
            )
        )
    host.noop("proofs change nothing")
    yield from ()


def views(cluster: Cluster) -> dict[str, View | None] | None:
    """Return how each member of Patroni sees the cluster, asked from this host."""
    urls = [cluster.rest_url(member) for member in cluster.postgres_members]
    found: dict[str, View | None] | None = host.get_fact(PatroniViews, urls=urls)
    return found


def _sessions(
    cluster: Cluster, platform: Platform, secrets: Secrets, address: str, port: int, times: int
) -> list[Session]:
    found: list[Session] | None = host.get_fact(
        RoutedSessions,
        psql=f"{platform.postgresql_bin}/psql",
        address=address,
        port=port,
        role=cluster.app.role,
        database=cluster.app.database,
        times=times,
        _stdin=StringIO(f"{secrets.app}\n"),  # no log shows what is in it
    )
    return found or []


def _reads(cluster: Cluster, here: Host, ask: Callable[[int, int], list[Session]]) -> Proof:
    sessions: list[Session] = []
    for _ in range(ROUNDS_OF_READS):
        members = judgement.answering(cluster, views(cluster))
        times = 2 * len(judgement_access.healthy_replicas(members)) or 1
        sessions += ask(cluster.haproxy.ro_port, times)
        proof = judgement_access.reads(cluster, here, members, sessions)
        if proof.status != "failed":
            break
    return proof


def switched_wal(cluster: Cluster, platform: Platform) -> str | None:
    """End a WAL segment on the primary; return its name, or None where nobody is primary."""
    for name in [m.name for m in cluster.postgres_members if m.name in report.active()]:
        segment: str | None = inventory.get_host(name).get_fact(
            SwitchedWal,
            psql=f"{platform.postgresql_bin}/psql",
            port=cluster.postgresql.port,
            _sudo=True,
        )
        if segment:
            return segment
    return None
