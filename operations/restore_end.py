"""The end of a restore: the primary alone, its first backup, replicas from that, and the report."""

from datetime import UTC, datetime

import click
from pyinfra import host, inventory, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

import plan as main
from cluster import Cluster, Host
from credentials import Secrets
from decisions import leader
from facts.patroni import PatroniStatus
from facts.restorable import Restorable, RestorableBackups
from facts.restore import RecoveryLog
from operations import Commands, application, patroni_changes, pgbackrest
from operations.patroni import BUSY, LOOK_HINT, SETTLED_SECONDS
from operations.restore_plan import STAMP, UNDO, Plan, mine, progress_of, work_dir
from operations.restore_start import SCRIPT, UNIT
from operations.waiting import repeated, wait_until
from platforms import Platform


def settle(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> None:
    """Bring a primary that has come from the past to the settings and passwords of today."""
    application.own_roles(
        name="Give PostgreSQL's own roles their passwords",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
        alone=True,
    )
    patroni_changes.live_configuration(
        name="Reconcile the live configuration", cluster=cluster, here=here, platform=platform
    )
    patroni_changes.applied(
        name="Wait until it runs by it", cluster=cluster, here=here, platform=platform
    )


@operation()
def led(cluster: Cluster, plan: Plan) -> Commands:
    """
    Wait until the restored host leads.

    + cluster: the whole cluster
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_end.led(name="Wait for the primary", cluster=cluster, plan=plan)
    """
    states: set[str] = set()

    def leads() -> bool:
        members = patroni_changes.ask_members(cluster) or []
        states.clear()
        states.update(member.state for member in members)
        head = leader(members)
        return head is not None and head.name == plan.host

    if state.is_executing and mine(plan):
        wait_until("leading", leads, SETTLED_SECONDS, LOOK_HINT, lambda: bool(states & BUSY))
    host.noop(f"{plan.host} leads")
    yield from ()


@operation()
def owned(cluster: Cluster, plan: Plan) -> Commands:
    """
    Let the archive be of the database that runs now, where that was born as another one.

    + cluster: the whole cluster
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_end.owned(name="Take over the archive", cluster=cluster, plan=plan)
    """
    if not plan.brings_another:
        host.noop("it is the same database")
        return
    # The primary's archive-push, failing until this is done, holds the lock now and then.
    yield repeated(pgbackrest.call(cluster, "stanza-upgrade"), tries=60)


@operation()
def backed_up(cluster: Cluster, plan: Plan) -> Commands:
    """
    Take a full backup of the new timeline, which replicas are filled from.

    + cluster: the whole cluster
    + plan: of this restore

    Older backups may lie beyond the target: a replica filled from one could not follow.

    **Example:**

    .. code:: python

        restore_end.backed_up(name="Back up", cluster=cluster, plan=plan)
    """
    if state.is_executing:
        found: Restorable | None = host.get_fact(RestorableBackups, stanza=cluster.stanza)
        began = _new_timeline(cluster, plan)
        if found is None:
            raise OperationError(
                f"cannot tell whether {host.name} has a backup of the restored database\n"
                "    HINT: look at `pgbackrest info` there, then run this again."
            )
        if any(one.label.endswith("F") and one.timeline >= began for one in found["backups"]):
            host.noop("there is a full backup of the new timeline")
            return
        host.log("taking a full backup of the new timeline")
    yield StringCommand(
        "systemctl start pgbackrest-backup@full.service || { journalctl -o cat --no-pager -n 12"
        " -u pgbackrest-backup@full.service >&2; false; }"
    )


@operation()
def finished(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    Say what came of it, and forget the plan; the old data stays.

    + cluster: the whole cluster
    + platform: of this host
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_end.finished(name="Report", cluster=cluster, platform=platform, plan=plan)
    """
    if state.is_executing and mine(plan):
        for line in report(cluster, platform, plan):
            click.echo(line, err=bool(main.command_line.get("json_output")))
    yield forgotten(cluster)


def forgotten(cluster: Cluster) -> StringCommand:
    """Return what removes a restore's plan and tools from a host."""
    work = work_dir(cluster)
    # The plan goes first: what is left without one is removed by the next restore.
    return StringCommand(
        "systemctl stop 'pgha-restore@*.service' && rm -f", QuoteString(f"{work}/plan"), UNIT,
        SCRIPT, "&& systemctl daemon-reload && rm -rf", QuoteString(work),
    )  # fmt: skip


def report(cluster: Cluster, platform: Platform, plan: Plan) -> list[str]:
    """Return where the restored database is, line by line, asked from its host."""
    said = host.get_fact(RecoveryLog, work_dir=work_dir(cluster)) or {}
    urls = {member.name: cluster.rest_url(member) for member in cluster.postgres_members}
    members = host.get_fact(PatroniStatus, urls=urls) or []
    timelines = {one["name"]: one["timeline"] for one in members}
    began = datetime.strptime(plan.stamp, STAMP).replace(tzinfo=UTC)
    minutes, seconds = divmod(int((datetime.now(UTC) - began).total_seconds()), 60)
    what = f"{plan.title(cluster)} to {plan.target}"
    if plan.target == UNDO:
        what = f"Undo of a restore of {cluster.general.name}"
    lines = ["", f"{what} is done"]
    lines += [
        f"  {name:<11}{value}"
        for name, value in (
            ("backup", said.get("label", "")),
            ("reached", f"LSN {said.get('lsn') or 'unknown'}"),
            ("last commit", said.get("last", "")),
            ("ended", said.get("stopped", "")),
            ("timeline", f"{plan.highest} before, {timelines.get(plan.host) or '?'} now"),
            ("took", f"{minutes} min {seconds} s"),
        )
        if value
    ]
    olds = [
        f"  old data   {node.name}: {plan.aside(cluster)}"
        for node in cluster.postgres_members
        if plan.aside(cluster) in progress_of(node.name, cluster, platform)["directories"]
    ]
    if olds:
        lines += [
            *olds,
            "  Old data stays until you remove it. To put it back: day2/restore_undo.py --data"
            f" target={plan.stamp}",
        ]
    return [
        *lines,
        "  It ends with the proofs. If one fails, mend that and run verify.py, not this again.",
    ]


def _new_timeline(cluster: Cluster, plan: Plan) -> int:
    """Return the timeline that the recovery chose; without its log, the least that it can be."""
    said: dict[str, str] | None = inventory.get_host(plan.host).get_fact(
        RecoveryLog, work_dir=work_dir(cluster), _sudo=True
    )
    return int((said or {}).get("timeline") or plan.highest + 1)
