"""Back to what was before a restore: the old data takes its place again, on a new timeline.

The archive has the restored timeline already, so the old primary's data is promoted once more, by
the same script, onto a number that nobody had; Patroni alone would take one twice.
"""

from collections.abc import Mapping, Sequence

from pyinfra import host, inventory
from pyinfra.api import StringCommand, operation

from cluster import Cluster
from decisions import PatroniMember, Refusal, leader
from facts.patroni import PatroniStatus
from facts.restore import Progress
from operations import Commands, restore_end, restore_plan, restore_start
from operations.restore_plan import UNDO, Plan
from platforms import Platform

# How pg_controldata calls a primary that ended in good order; a replica says "in recovery".
ENDED_WELL = "shut down"


def plan_of_run(cluster: Cluster, platform: Platform) -> Plan:
    """Return the plan of this undo, shown and agreed to once; raises DeployError.

    Its host is "" where a restore is given up that has not stopped the primary.
    """

    def made(found: Mapping[str, Progress]) -> tuple[Plan, list[str]]:
        earlier = restore_plan.begun(found)
        if earlier and earlier.target == UNDO:
            one = earlier
        else:
            wanted = str(host.data.get("target") or "")
            one = new(cluster, found, earlier, _is_led(cluster), wanted)
        return one, lines(cluster, one)

    return restore_start.agreed(cluster, platform, made)


def new(
    cluster: Cluster,
    found: Mapping[str, Progress],
    earlier: Plan | None,
    is_led: bool,
    wanted: str,
) -> Plan:
    """Return how to go back; raises Refusal where that would not be clean.

    + found: how far each database host is
    + earlier: the restore that is not finished, if there is one
    + is_led: a primary runs
    + wanted: what `<data directory>.before-` is followed by, where nothing is unfinished
    """
    data = cluster.postgresql.data_dir
    known = {path for one in found.values() for path in one["directories"]}
    asides = sorted(path for path in known if path.startswith(f"{data}.before-"))
    if earlier:
        source = earlier.aside(cluster) if earlier.aside(cluster) in asides else data
        without = [name for name, one in found.items() if source not in one["directories"]]
        if source != data and without:
            raise Refusal(
                f"the restore to {earlier.target} is half-way: {without[0]} still has its old data"
                " in place",
                f"finish it with day2/restore.py --data target='{earlier.target}', then undo it.",
            )
        if source == data and is_led:
            return Plan(UNDO, restore_plan.stamp(), "", data, (), 0, 0)
    else:
        source = _wanted(f"{data}.before-", wanted, asides)
    old = {
        name: one["directories"][source]
        for name, one in found.items()
        if source in one["directories"]
    }
    ended = {name: one["timeline"] for name, one in old.items() if one["state"] == ENDED_WELL}
    if len(ended) != 1:
        raise Refusal(
            f"{len(ended)} hosts have a {source} that was shut down as a primary, not one: which"
            " has all commits cannot be told",
            "see `pg_controldata` of each, and put one back by hand.",
        )
    (name, timeline), *_ = ended.items()
    timelines = [o["timeline"] for one in found.values() for o in one["directories"].values()]
    systems = {found[name]["directories"][path]["system"] for path in (source, data)
               if path in found[name]["directories"]}  # fmt: skip
    return Plan(
        UNDO, restore_plan.stamp(), name, source, (), timeline, max(timelines),
        is_foreign=len(systems - {""}) > 1,
    )  # fmt: skip


def _wanted(beginning: str, wanted: str, asides: Sequence[str]) -> str:
    """Return which old data is put back: named, so that the same command again does nothing."""
    stamps = [path.removeprefix(beginning) for path in asides]
    if not stamps:
        raise Refusal(f"no host has a {beginning}…", "there is nothing to put back.")
    if wanted not in stamps:
        problem = f"no host has {beginning}{wanted}" if wanted else "no restore is unfinished"
        raise Refusal(problem, f"which data is to be put back? --data target={' or '.join(stamps)}")
    return f"{beginning}{wanted}"


def lines(cluster: Cluster, plan: Plan) -> list[str]:
    """Return what an undo is going to do, for people."""
    title = ["", f"Undo of a restore of {cluster.general.name}"]
    if not plan.host:
        return [*title, "  the cluster was not touched yet: what was restored beside it is removed"]
    if plan.source == cluster.postgresql.data_dir:
        return [*title, f"  {plan.host} leads again, with the data that was never moved"]
    return [
        *title,
        f"  back       {plan.source}, which {plan.host} leads with; hosts without one are filled",
        f"  aside      what runs now goes to {plan.aside(cluster)}",
        "  lost       all that was committed since the restore, for clients",
    ]


@operation()
def given_up(cluster: Cluster) -> Commands:
    """
    Remove what a restore has made beside the data so far, and let every member go on.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        restore_undo.given_up(name="Give the restore up", cluster=cluster)
    """
    # The plan goes last: without it, the same again would be about another restore.
    yield StringCommand("systemctl enable --now patroni.service &&", restore_end.forgotten(cluster))


def _is_led(cluster: Cluster) -> bool:
    urls = {member.name: cluster.rest_url(member) for member in cluster.postgres_members}
    first = inventory.get_host(cluster.postgres_members[0].name)
    told = first.get_fact(PatroniStatus, urls=urls, _sudo=True) or []
    return leader([PatroniMember(**one) for one in told]) is not None
