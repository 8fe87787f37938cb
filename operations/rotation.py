"""What a change of passwords waits for: a cluster that can take it, and proof that it did."""

from io import StringIO

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, operation
from pyinfra.api.exceptions import DeployError

import plan
from cluster import Cluster, Host
from credentials import Secrets
from decisions import Refusal, may_rotate
from facts.replication import ReplicationLogin
from facts.routing import RoutedSessions
from operations import Commands
from operations.patroni_changes import ask_applied, ask_members
from operations.waiting import wait_until
from platforms import Platform

# Patroni reloads in its next loop, and writes PostgreSQL's password file in the one after.
NOTICED_SECONDS = 120.0
LOOK_HINT = "look at `journalctl -u patroni` there; running this or a deploy again goes on."


def refuse_without_members(cluster: Cluster) -> None:
    """Refuse (DeployError) a run in which nobody would learn the passwords that it writes down."""
    active = {member.name for member in inventory.get_active_hosts()}
    for group in ("postgres", "etcd"):
        if not any(member.name in active for member in cluster.group(group)):
            raise DeployError(
                f"no host of the group {group} is part of this run, and passwords change there\n"
                "    HINT: leave --limit out."
            )


@operation()
def ready(cluster: Cluster) -> Commands:
    """
    Refuse to begin unless every member of this run leads or streams.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        rotation.ready(name="See whether the cluster is well", cluster=cluster)
    """
    if state.is_executing and plan.first_of([m.name for m in cluster.postgres_members]):
        active = [member.name for member in inventory.get_active_hosts()]
        try:
            may_rotate(ask_members(cluster) or [], active)
        except Refusal as refusal:
            raise OperationError(str(refusal)) from None
    host.noop("the cluster is well")
    yield from ()


@operation()
def taken_over(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Wait until Patroni has acted on its file.

    + cluster: the whole cluster
    + here: the member's host
    + platform: of that host

    **Example:**

    .. code:: python

        rotation.taken_over(name="Wait", cluster=cluster, here=here, platform=platform)
    """

    def reloaded() -> bool:
        found = ask_applied(cluster, here, platform)
        return found is not None and found["reloaded"]

    if state.is_executing:
        wait_until("Patroni's reload", reloaded, NOTICED_SECONDS, LOOK_HINT)
    host.noop("Patroni has its new passwords")
    yield from ()


@operation()
def streams(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Wait until this replica can begin to stream with the new password; its stream is left alone.

    + cluster: the whole cluster
    + here: the member's host
    + platform: of that host

    **Example:**

    .. code:: python

        rotation.streams(name="Prove", cluster=cluster, here=here, platform=platform)
    """

    def proven() -> bool:
        leader = next((m for m in ask_members(cluster) or [] if m.is_leader and m.is_healthy), None)
        if leader is None:
            return False
        return leader.name == here.name or bool(
            host.get_fact(
                ReplicationLogin,
                psql=f"{platform.postgresql_bin}/psql",
                passfile=f"{platform.postgres_home}/.pgpass_patroni",
                address=cluster.host(leader.name).address,
                port=cluster.postgresql.port,
            )
        )

    if state.is_executing:
        wait_until("replication with the new password", proven, NOTICED_SECONDS, LOOK_HINT)
    host.noop("the new password lets replicas in")
    yield from ()


@operation()
def writes(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> Commands:
    """
    Write through HAProxy and PgBouncer as the application, with its password of the secrets.

    + cluster: the whole cluster
    + here: an HAProxy host
    + platform: of that host
    + secrets: the cluster's passwords

    **Example:**

    .. code:: python

        rotation.writes(
            name="Prove", cluster=cluster, here=here, platform=platform, secrets=secrets
        )
    """
    if state.is_executing and (why := unwritten(cluster, here, platform, secrets)):
        raise OperationError(
            f"{cluster.app.role} cannot write through {here.name}: {why}\n"
            "    HINT: look at `pyinfra inventory.py verify.py -y`."
        )
    host.noop("the application's password is good")
    yield from ()


def unwritten(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> str:
    """Write as the application by both ports; return why it cannot, or "" when it did.

    PgBouncer logs its older sessions in by the password that was good for it last.
    """
    for port in (cluster.haproxy.rw_port, cluster.pgbouncer.port):
        sessions = host.get_fact(
            RoutedSessions,
            psql=f"{platform.postgresql_bin}/psql",
            address=here.address,
            port=port,
            role=cluster.app.role,
            database=cluster.app.database,
            times=1,
            _stdin=StringIO(f"{secrets.app}\n"),  # no log shows what is in it
        )
        if not sessions:
            return f"no session came about on port {port}"
        if not sessions[0]["written"]:
            return f"{sessions[0]['error'] or 'no error was given'} (port {port})"
    return ""
