"""The beginning of a restore: what is asked for, whether it can be done, and a person's word."""

from collections.abc import Callable

from gevent.lock import BoundedSemaphore
from pyinfra import host, inventory
from pyinfra.api import OperationError, StringCommand, operation
from pyinfra.api.exceptions import DeployError

from backup_repositories import MAIN
from cluster import Cluster
from decisions import Refusal
from facts.etcd import EtcdHealth
from facts.patroni import PatroniConfig
from facts.restore import Progress
from operations import Commands, agreement, config_files, restore_choice, restore_plan
from operations.config_files import Directory, File
from operations.peers import ask
from operations.restore_choice import Place
from operations.restore_plan import UNDO, Plan, is_swapped, mine, work_dir
from platforms import Platform
from recovery_target import FORMS, Target, parse

SCRIPT = "/usr/local/sbin/pgha-restore"
UNIT = "/etc/systemd/system/pgha-restore@.service"
# By which pgBackRest reads another cluster's repository.
SOURCE_CONFIG = "/etc/pgha/pgbackrest-source.conf"
# Where PostgreSQL is told to stop, as a line of its configuration; latest is no target to it.
GOALS = {
    "latest": "",
    "time": "recovery_target_time='{}'",
    "lsn": "recovery_target_lsn='{}'",
    "xid": "recovery_target_xid='{}'",
    "name": "recovery_target_name='{}'",
    "backup": "recovery_target=immediate",
}

_turn = BoundedSemaphore()
_agreed: list[Plan] = []


def plan_of_run(cluster: Cluster, platform: Platform, place: Callable[[], Place]) -> Plan:
    """Return the plan of this run, shown and agreed to once; raises DeployError.

    + place: returns where to restore from; may refuse (Refusal)
    """
    text = str(host.data.get("target") or "")
    if not text:
        raise DeployError(f"no target is given\n    HINT: add --data target=, {FORMS}")
    return agreed(
        cluster,
        platform,
        lambda found: (
            _going_on(cluster, text, restore_plan.begun(found))
            or restore_choice.new(cluster, text, found, place())
        ),
    )


def chosen_place(cluster: Cluster) -> Place:
    """Return the repository of `--data repository=`; raises Refusal where there is none."""
    return restore_choice.own_place(cluster, str(host.data.get("repository") or MAIN))


def agreed(
    cluster: Cluster,
    platform: Platform,
    made: Callable[[dict[str, Progress]], tuple[Plan, list[str]]],
) -> Plan:
    """Return the plan that `made` makes and tells of, for all hosts the same; raises DeployError.

    + made: of how far each database host is; may refuse (Refusal)
    """
    with _turn:
        if not _agreed:
            found = restore_plan.everybody(cluster, platform)
            try:
                refuse_pause(cluster)
                one, lines = made(found)
                if one.host:  # nobody, where what was begun is given up and nobody has to stop
                    refuse_without_etcd(cluster)
            except Refusal as refusal:
                raise DeployError(str(refusal)) from None
            agreement.agree(cluster.general.name, lines)
            _agreed.append(one)
        return _agreed[0]


def _going_on(cluster: Cluster, text: str, plan: Plan | None) -> tuple[Plan, list[str]] | None:
    """Return the plan that a run left unfinished, if it is for the same target."""
    if plan is None:
        return None
    if plan.target != text:
        what = "an undo" if plan.target == UNDO else f"{plan.title(cluster)} to {plan.target}"
        raise Refusal(
            f"{what} was begun ({plan.stamp}) and is not finished",
            "day2/restore_undo.py goes on with it."
            if plan.target == UNDO
            else f"finish it with --data target='{plan.target}', or give it up by"
            " day2/restore_undo.py.",
        )
    return plan, ["", f"{plan.title(cluster)} to {text}: going on since {plan.stamp}"]


def refuse_pause(cluster: Cluster) -> None:
    """Refuse (Refusal) while Patroni is paused: it would start nothing that was restored."""
    for member in cluster.postgres_members:  # whose Patroni may be stopped
        live = ask(member.name, PatroniConfig, url=cluster.rest_url(member))
        if live is not None and live.get("pause"):
            raise Refusal("Patroni is paused: it would start nothing", "`patronictl resume` first.")


def refuse_without_etcd(cluster: Cluster) -> None:
    """Refuse (Refusal) while etcd commits nothing: whoever is stopped could not lead again."""
    active = {member.name for member in inventory.get_active_hosts()}
    asked = [member.name for member in cluster.etcd_members if member.name in active]
    told = (ask(name, EtcdHealth, endpoints=cluster.etcd_endpoints) for name in asked)
    if not any(any((health or {}).values()) for health in told):  # without a quorum none commits
        raise Refusal(
            "etcd commits nothing, and without it nobody could lead what is restored",
            "verify.py says why; docs/operations.md, what to do.",
        )


def files(
    cluster: Cluster, platform: Platform, plan: Plan, timeline: int, highest: int
) -> list[File | Directory]:
    """Return what does the work on the host that is restored.

    + timeline: to follow
    + highest: the highest that is taken
    """
    is_undo = plan.target == UNDO
    target = Target("latest") if is_undo else parse(plan.target)
    script = config_files.render(
        "pgha-restore.j2",
        bin=platform.postgresql_bin,
        work=work_dir(cluster),
        run="/run/pgha-restore",
        directory=plan.source,
        stanza=plan.origin or cluster.stanza,
        config=SOURCE_CONFIG if plan.origin else "",
        port=cluster.postgresql.port,
        backups=plan.backups,
        repository=plan.repository,
        rehearsed=target.kind != "latest",
        goal=GOALS[target.kind].format(target.value),
        timeline=timeline,
        # A backup's own timeline, and an old data directory's, may have no history any more.
        follow="current" if is_undo or target.kind == "backup" else timeline,
        highest=highest,
    )
    unit = config_files.render("pgha-restore.service.j2", cluster=cluster, script=SCRIPT)
    return [File(SCRIPT, script, mode="755", check="sh -n {}"), File(UNIT, unit)]


@operation()
def noted(cluster: Cluster, platform: Platform, plan: Plan) -> Commands:
    """
    Write down what this restore is going to do; from then on no deploy interferes.

    + cluster: the whole cluster
    + platform: of this host
    + plan: of this restore

    **Example:**

    .. code:: python

        restore_start.noted(name="Note the plan", cluster=cluster, platform=platform, plan=plan)
    """
    progress = restore_plan.progress_of(host.name, cluster, platform)
    work, earlier = work_dir(cluster), progress["plan"]
    wanted: list[File | Directory] = [
        Directory(work, "postgres", "postgres", "700"),
        File(f"{work}/plan", f"{plan.text}\n", "postgres", "postgres", "600"),
    ]
    if mine(plan) and not progress["mark"].startswith("promoted"):
        wanted += files(cluster, platform, plan, plan.timeline, plan.highest)
        if plan.backups and not is_swapped(cluster, plan, progress):
            wanted.insert(1, Directory(plan.source, "postgres", "postgres", "700"))
    replaces = plan.target == UNDO and earlier and earlier["target"] != UNDO
    if earlier and not replaces and restore_plan.read(earlier) != plan:
        raise OperationError(
            f"{host.name} has another plan: somebody else has just begun a restore\n"
            "    HINT: see who; only one of you can go on."
        )
    different = config_files.differing(wanted, config_files.read(wanted))
    if not earlier or replaces:
        # What a restore that ended, or is given up, has left; never old data.
        yield StringCommand("systemctl stop 'pgha-restore@*.service' && rm -rf", work)
        different = wanted
    if not different:
        host.noop("the plan is written down")
    yield from config_files.written(different, "systemctl daemon-reload")
