"""The restored database beside the old one: recovered up to its target, then promoted.

While the target is being reached the cluster goes on as if nothing was. Each step looks how far the
host is, so a run that was killed is finished by the next.
"""

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from cluster import Cluster
from facts.archive import ArchivedSegment
from facts.restorable import ArchiveListing
from operations import Commands, config_files, proofs_access, restore_start
from operations.restore_plan import Plan, is_swapped, mine, progress_of, work_dir
from operations.waiting import wait_until
from platforms import Platform
from recovery import Archive

ARCHIVED_SECONDS = 120.0


@operation()
def archived(
    cluster: Cluster, platform: Platform, repository: int = 1, is_wanted: bool = True
) -> Commands:
    """
    Let all that was committed up to now be in the archive, if there is a primary.

    + cluster: the whole cluster
    + platform: of the hosts
    + repository: pgBackRest's number of the one that is restored from
    + is_wanted: what runs now is of the database that is restored

    It also commits: PostgreSQL knows that it is past a time only by a later commit.

    **Example:**

    .. code:: python

        restore.archived(name="Archive what there is", cluster=cluster, platform=platform)
    """
    if not is_wanted:
        host.noop("nothing of what runs belongs into this archive")
        return
    segment = proofs_access.switched_wal(cluster, platform) if state.is_executing else None
    if segment:
        wait_until(
            f"the arrival of {segment} in the repository",
            lambda: bool(
                host.get_fact(
                    ArchivedSegment, stanza=cluster.stanza, segment=segment, repository=repository
                )
            ),
            ARCHIVED_SECONDS,
            "archiving has to work first: see `pyinfra inventory.py verify.py -y`.",
        )
    host.noop("the archive has what there is")
    yield from ()


@operation()
def reached(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    Restore a backup beside the data, and recover it up to the target; the cluster goes on.

    + cluster: the whole cluster
    + platform: of this host
    + plan: of this restore

    **Example:**

    .. code:: python

        restore.reached(name="Restore beside", cluster=cluster, platform=platform, plan=plan)
    """
    progress = progress_of(host.name, cluster, platform)
    is_done = progress["mark"].startswith(("reached", "promoted"))
    if not mine(plan) or is_done or is_swapped(cluster, plan, progress):
        host.noop("the target was reached" if mine(plan) else "another host sees to that")
        return
    host.log(f"this may take long; `journalctl -fu pgha-restore@reached` on {host.name} shows it")
    yield _worked(cluster, "reached")


@operation()
def promoted(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    End the recovery on a timeline that nobody had, and shut that database down.

    + cluster: the whole cluster
    + platform: of this host
    + plan: of this restore

    **Example:**

    .. code:: python

        restore.promoted(name="Promote", cluster=cluster, platform=platform, plan=plan)
    """
    progress = progress_of(host.name, cluster, platform)
    is_done = progress["mark"].startswith("promoted")
    if not mine(plan) or is_done or is_swapped(cluster, plan, progress):
        host.noop("it is promoted" if mine(plan) else "another host sees to that")
        return
    if state.is_executing:
        # The cluster may have changed its timeline since the plan was made, and no number may be
        # taken twice in its own archive.
        archive: Archive | None = inventory.get_host(cluster.repository.name).get_fact(
            ArchiveListing, stanza=cluster.stanza, repository=plan.repository, _sudo=True
        )
        if archive is None:
            raise OperationError(
                f"{cluster.repository.name} does not tell which timelines the archive has\n"
                "    HINT: bring it back and run this again."
            )
        newest = max(plan.highest, archive.newest_timeline)
        is_own_latest = plan.target == "latest" and not plan.origin
        follow = newest if is_own_latest else plan.timeline
        wanted = restore_start.files(cluster, platform, plan, follow, newest)
        yield from config_files.written(
            config_files.differing(wanted, config_files.read(wanted)), "systemctl daemon-reload"
        )
    yield _worked(cluster, "promoted")


def _worked(cluster: Cluster, step: str) -> StringCommand:
    """Return what starts a step of the script, or waits for one that runs, and shows its end."""
    now = f"{work_dir(cluster)}/now"
    return StringCommand(
        f"systemctl start pgha-restore@{step}.service || {{ journalctl -u pgha-restore@{step}"
        " -o cat -n 12 --no-pager >&2; echo PostgreSQL said it in", QuoteString(now),
        ">&2; false; }",
    )  # fmt: skip
