"""Members that make room for a restored database: stopped, forgotten by etcd, and started anew.

Each step looks how far the hosts are, so a run that was killed is finished by the next.
"""

from pyinfra import host, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

import plan as main
from cluster import Cluster, Host
from decisions import PatroniMember
from operations import Commands, etcd_access, patroni_changes, phase
from operations.restore_plan import Plan, is_swapped, leads_unmoved, mine, progress_of
from operations.waiting import repeated
from platforms import Platform

# Patroni's packaged unit kills it after half a minute and leaves PostgreSQL to its checkpoint.
CHECKPOINT_SECONDS = 3600
# What members say of themselves and of each other. Not the live configuration, and not
# `initialize`: while that is there, no member without data can be born as another cluster. Where
# another database comes it has to go, since Patroni would refuse that one; nobody runs by then.
KEYS = ("leader", "status", "optime/leader", "sync", "failover", "failsafe", "history")


def stop_all(cluster: Cluster, here: Host, platform: Platform, plan: Plan) -> None:
    """Stop every member, the primary last, and let etcd forget them."""
    if here.is_postgres:
        stopped(
            name="Stop the replicas",
            cluster=cluster,
            here=here,
            platform=platform,
            plan=plan,
            primary=False,
        )
        stopped(
            name="Stop the primary",
            cluster=cluster,
            here=here,
            platform=platform,
            plan=plan,
            primary=True,
        )
    phase.reached(name="== all are stopped ==")
    if here.is_etcd:
        cleared(name="Let etcd forget who led", cluster=cluster, platform=platform, plan=plan)


@operation()
def stopped(
    cluster: Cluster, here: Host, platform: Platform, plan: Plan, primary: bool
) -> Commands:
    """
    Stop Patroni and PostgreSQL, and let neither come back with the host.

    + cluster: the whole cluster
    + here: this host
    + platform: of this host
    + plan: of this restore
    + primary: stop the primary, too; it comes after the replicas, so that none takes over

    **Example:**

    .. code:: python

        restore_members.stopped(
            name="Stop replicas", cluster=cluster, here=here, platform=platform, plan=plan,
            primary=False,
        )
    """
    progress = progress_of(host.name, cluster, platform)
    if is_swapped(cluster, plan, progress) or leads_unmoved(cluster, platform, plan):
        host.noop("what runs here is the restored database")
        return
    if not primary and state.is_executing and _leads(cluster, here):
        host.noop("the primary stops last")
        return
    data, pg_ctl = QuoteString(cluster.postgresql.data_dir), f"{platform.postgresql_bin}/pg_ctl"
    yield StringCommand(
        "systemctl disable --now patroni.service && cd / &&"
        f" if runuser -u postgres -- {pg_ctl} status -D", data, ">/dev/null;"
        f" then runuser -u postgres -- {pg_ctl} stop -m fast -w -t {CHECKPOINT_SECONDS} -D", data,
        "; fi",
    )  # fmt: skip


@operation()
def cleared(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    Let etcd forget who led, who confirmed commits and how far; asked by one member of etcd.

    + cluster: the whole cluster
    + platform: of the hosts
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_members.cleared(name="Forget", cluster=cluster, platform=platform, plan=plan)
    """
    if not main.first_of([member.name for member in cluster.etcd_members]):
        host.noop("another host sees to that")
        return
    found = {
        node.name: progress_of(node.name, cluster, platform) for node in cluster.postgres_members
    }
    if is_swapped(cluster, plan, found[plan.host]) or leads_unmoved(cluster, platform, plan):
        host.noop("what etcd knows is of the restored database")
        return
    running = [name for name, one in found.items() if one["patroni"] in ("active", "activating")]
    if running and state.is_executing:
        raise OperationError(
            f"Patroni on {', '.join(running)} runs again: who started it?\n"
            "    HINT: run this again; meanwhile nobody may start it or deploy."
        )
    scope = f"{cluster.patroni.namespace}{cluster.general.name}/"
    keys = [*KEYS, "initialize"] if plan.is_foreign else KEYS
    etcdctl = etcd_access.etcdctl(cluster)
    yield StringCommand(
        # Everybody is stopped by now, and a member that answers may be cut off from the others.
        'forget() {', repeated(StringCommand(etcdctl, 'del "$@"'), tries=10), "; };"
        f" for key in {' '.join(keys)}; do forget", f'{scope}"$key" || exit 1; done &&',
        "forget --prefix", QuoteString(f"{scope}members/"),
    )  # fmt: skip


@operation()
def swapped(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    Put the old data directory aside, the restored one in its place, and start Patroni on it.

    + cluster: the whole cluster
    + platform: of this host
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_members.swapped(
            name="Take its place", cluster=cluster, platform=platform, plan=plan
        )
    """
    progress = progress_of(host.name, cluster, platform)
    if not mine(plan):
        host.noop("another host sees to that")
        return
    started = "systemctl enable --now patroni.service"
    if is_swapped(cluster, plan, progress):
        if progress["patroni"] == "active":
            host.noop("the restored database has its place")
            return
        yield StringCommand(started)
        return
    if state.is_executing and not progress["mark"].startswith("promoted"):
        raise OperationError(
            f"{host.name} has no restored database\n    HINT: run this again: it goes on."
        )
    yield StringCommand(taken(cluster, plan), "&&", started)


@operation()
def rebuilt(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    Put the other members' data aside and start them on nothing, or on their old data for an undo.

    + cluster: the whole cluster
    + platform: of this host
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_members.rebuilt(name="Rebuild", cluster=cluster, platform=platform, plan=plan)
    """
    progress = progress_of(host.name, cluster, platform)
    if mine(plan) or (is_swapped(cluster, plan, progress) and progress["patroni"] == "active"):
        host.noop("this member runs already")
        return
    yield StringCommand(taken(cluster, plan), "&& systemctl enable --now patroni.service")


def taken(cluster: Cluster, plan: Plan) -> StringCommand:
    """Return what puts the data directory aside and its successor in its place, each once.

    Where there is no successor an empty directory takes the place, which Patroni fills.
    """
    made = "install -d -o postgres -g postgres -m 700"
    data, aside, source = (
        QuoteString(path) for path in (_data(cluster), plan.aside(cluster), plan.source)
    )
    if plan.source == _data(cluster):
        return StringCommand("true")
    return StringCommand(
        "{ [ -e", aside, "] || { { [ -e", data, "] ||", made, data, "; } && mv -T", data, aside,
        "; }; } && { [ ! -e", source, "] || mv -T", source, data, "; } && { [ -e", data, "] ||",
        made, data, "; }",
    )  # fmt: skip


def _data(cluster: Cluster) -> str:
    return cluster.postgresql.data_dir


def _leads(cluster: Cluster, here: Host) -> bool:
    members: list[PatroniMember] = patroni_changes.ask_members(cluster) or []
    return any(member.name == here.name and member.is_leader for member in members)
