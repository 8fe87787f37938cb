"""Patroni: members that find each other and stream from whoever leads.

Nothing here restarts a running member with systemctl: that could be a failover. What a change of
settings asks of running members is in patroni_changes.py.
"""

import shlex
from pathlib import PurePosixPath

from pyinfra import host, state
from pyinfra.api import QuoteString, StringCommand, operation

import plan
import wal
from cluster import ETCDCTL, REPLICA_FILL, SOCKET_DIR, Cluster, Host
from credentials import Secrets
from decisions import PatroniMember
from facts.component import ComponentState
from facts.patroni import PatroniCluster, PatroniStatus
from identities import AUTHORITY, Identity
from operations import Commands, application, config_files, patroni_changes, pgbouncer, selinux
from operations.config_files import Directory, File
from operations.waiting import wait_until
from platforms import Platform
from reconciliation import APPLIED

UNIT, HANDED_OVER = "patroni.service", "/usr/local/sbin/pgha-handed-over"
# Whoever copies the database, or replays WAL before it answers, is at work however long it takes.
BUSY = frozenset({"initializing new cluster", "creating replica", "starting"})
# So Patroni calls whoever replays what the archive has, and whoever waits in vain for a primary.
REPLAYING = "in archive recovery"
# Who replays all that is archived is no further behind; each minute a segment is (archive_timeout).
NEAR_BYTES = 4 * wal.SEGMENT_BYTES
# A member that neither works nor streams for so long will not do so by itself.
SETTLED_SECONDS = 600.0
LOOK_HINT = "look at `patronictl list` and `journalctl -u patroni` there."
VALIDATE = "runuser -u postgres -- patroni --ignore-listen-port --validate-config {}"


def deploy(
    cluster: Cluster, here: Host, platform: Platform, secrets: Secrets, in_container: bool
) -> None:
    """Make this host a healthy member, and the live configuration what the settings say."""
    application.own_roles(
        name="Give PostgreSQL's own roles their passwords",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
    )
    member(
        name="Configure and start Patroni",
        cluster=cluster,
        here=here,
        platform=platform,
        secrets=secrets,
        in_container=in_container,
    )
    selinux.label(platform, {cluster.postgresql.data_dir: selinux.DATABASE})
    healthy(name="Wait until this member leads or streams", cluster=cluster, here=here)
    application.role_and_database(
        name="Make the application's role and database",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
    )
    pgbouncer.access(name="Let PgBouncer ask for verifiers", cluster=cluster, platform=platform)
    is_first = plan.first_of([peer.name for peer in cluster.postgres_members])
    if is_first:
        patroni_changes.live_configuration(
            name="Reconcile the live configuration", cluster=cluster, here=here, platform=platform
        )
    patroni_changes.applied(
        name="Wait until this member runs by it", cluster=cluster, here=here, platform=platform
    )
    if is_first:
        patroni_changes.pending_restarts(
            name="Restart members that need it, one by one", cluster=cluster, platform=platform
        )


@operation()
def member(
    cluster: Cluster, here: Host, platform: Platform, secrets: Secrets, in_container: bool
) -> Commands:
    """
    Write Patroni's configuration, checked by Patroni itself; start it or let it reload.

    + cluster: the whole cluster
    + here: the member's host
    + platform: of that host
    + secrets: the cluster's passwords
    + in_container: a watchdog would reset the machine, and is left alone

    **Example:**

    .. code:: python

        patroni.member(
            name="Patroni", cluster=cluster, here=here, platform=platform, secrets=secrets,
            in_container=False,
        )
    """
    wanted = _wanted(cluster, here, platform, secrets, in_container)
    links = [
        f"{home}/.config/patroni/patronictl.yaml" for home in (platform.postgres_home, "/root")
    ]
    found = config_files.read(wanted, [UNIT], also=[_hba_file(cluster), *links])
    different = config_files.differing(wanted, found)
    for link in links:  # so that patronictl needs no flags
        if link not in found["paths"]:
            yield StringCommand(
                "mkdir -p", QuoteString(str(PurePosixPath(link).parent)),
                "&& ln -sf", QuoteString(platform.patroni_config), QuoteString(link),
            )  # fmt: skip
    if config_files.unit_is_ready(found, UNIT):
        reload = f"systemctl daemon-reload && systemctl reload {UNIT}"
        if different:
            yield from config_files.written(different, reload)
        elif _is_stale(found, cluster, platform):
            yield StringCommand(reload)
        else:
            host.noop("Patroni runs with this configuration")
        return
    yield from config_files.written(different)
    yield StringCommand(
        # reset-failed forgets an earlier crash loop, and fails itself where there was none.
        f"systemctl daemon-reload && {{ systemctl reset-failed {UNIT} 2>/dev/null || true; }}"
        f" && systemctl enable --now {UNIT}"
    )


@operation()
def healthy(cluster: Cluster, here: Host) -> Commands:
    """
    Wait until this member is the leader or streams from it.

    + cluster: the whole cluster
    + here: the member's host

    **Example:**

    .. code:: python

        patroni.healthy(name="Wait for Patroni", cluster=cluster, here=here)
    """

    seen: PatroniMember | None = None

    def ready() -> bool:
        nonlocal seen
        seen = next((m for m in _members(cluster, here) or [] if m.name == here.name), None)
        return seen is not None and seen.is_healthy

    replayed = 0

    def busy() -> bool:
        nonlocal replayed
        if seen is None or seen.state != REPLAYING:
            return seen is not None and seen.state in BUSY
        if seen.lag is not None and seen.lag < NEAR_BYTES:
            return False
        before, replayed = replayed, max(replayed, _replayed(cluster, here))
        return replayed > before

    if state.is_executing:
        wait_until("leading or streaming", ready, SETTLED_SECONDS, LOOK_HINT, busy)
    host.noop(f"{here.name} leads or streams")
    yield from ()


def _wanted(
    cluster: Cluster, here: Host, platform: Platform, secrets: Secrets, in_container: bool
) -> list[File | Directory]:
    dynamic = cluster.dynamic_configuration()
    content = config_files.render(
        "patroni.yml.j2",
        cluster=cluster,
        host=here,
        platform=platform,
        secrets=secrets,
        identity=Identity("postgres", here.name),
        authority=AUTHORITY,
        dynamic_configuration={**dynamic, APPLIED: dynamic},
        socket_dir=SOCKET_DIR,
        replica_fill=REPLICA_FILL,
        watchdog="off" if in_container else "automatic",
    )
    key = f"{cluster.patroni.namespace}{cluster.general.name}/leader"
    handed_over = config_files.render("pgha-handed-over.j2", etcdctl=ETCDCTL, key=key)
    return [
        Directory(cluster.postgresql.data_dir, "postgres", "postgres", "700"),
        *([File(HANDED_OVER, handed_over, mode="755")] if here.is_etcd else []),
        File(
            f"/etc/systemd/system/{UNIT}.d/pgha.conf",
            config_files.render("patroni.service.conf.j2", here=here, handed_over=HANDED_OVER),
        ),
        File(
            platform.patroni_config,
            content,
            "postgres",
            "postgres",
            "600",
            check=f"{_parameters_fit(cluster, platform)} && {VALIDATE}",
        ),
    ]


def _parameters_fit(cluster: Cluster, platform: Platform) -> str:
    """Return a command by which PostgreSQL itself refuses a parameter it does not know or take.

    Patroni would leave such a parameter out and go on.
    """
    parameters = cluster.dynamic_configuration()["postgresql"]["parameters"]
    pairs = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in parameters.items())
    return (
        f"({platform.postgresql_bin}/postgres -C port -D / -c config_file=/dev/null {pairs}"
        " >/dev/null || (echo 'HINT: mend it in postgresql_parameters.' >&2; false))"
    )


def _hba_file(cluster: Cluster) -> str:
    return f"{cluster.postgresql.data_dir}/pg_hba.conf"


def _is_stale(found: ComponentState, cluster: Cluster, platform: Platform) -> bool:
    """Say whether Patroni has not acted on its file yet: it writes pg_hba.conf when it does."""
    written, hba = found["paths"][platform.patroni_config], found["paths"].get(_hba_file(cluster))
    return hba is not None and hba["mtime"] < written["mtime"]


def _replayed(cluster: Cluster, here: Host) -> int:
    found = host.get_fact(PatroniStatus, urls={here.name: cluster.rest_url(here)})
    return (found[0]["replayed"] if found else None) or 0


def _members(cluster: Cluster, here: Host) -> list[PatroniMember] | None:
    found = host.get_fact(PatroniCluster, url=cluster.rest_url(here))
    return None if found is None else [PatroniMember(**member) for member in found]
