"""What a new restore is going to do: chosen by what the repository has and by what the hosts have.

What would overwrite something, or cannot be reached, is refused here, while everything runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyinfra.api.exceptions import DeployError

from backup_repositories import MAIN
from cluster import Cluster
from decisions import PatroniMember, Refusal, leader
from facts.patroni import PatroniStatus
from facts.restorable import ArchiveListing, BackupTablespaces, Restorable, RestorableBackups
from facts.restore import Progress
from operations import backup_places
from operations.peers import ask
from operations.restore_plan import Plan, stamp, work_dir
from recovery import BY_HAND, Archive, Backup, Route, route, tries, without_tablespaces
from recovery_target import Target, parse

FIXED = {
    "mount": "is a mount point or a link: it cannot be renamed, and would have to be overwritten",
    "tablespace": "has tablespaces: those lie elsewhere, and would be overwritten",
}


@dataclass(frozen=True)
class Place:
    """Where backups are to restore from.

    + name: as people call it
    + host: who asks pgBackRest for them
    + stanza: the name of the cluster that they are of
    + repository: pgBackRest's number of it
    + config: pgBackRest's configuration there, where it is not the usual one
    + is_lent: another cluster's
    """

    name: str
    host: str
    stanza: str
    repository: int = 1
    config: str = ""
    is_lent: bool = False

    @property
    def asked(self) -> dict[str, Any]:
        """What a fact about the backups there is asked with."""
        return {"stanza": self.stanza, "repository": self.repository, "config": self.config}


def own_place(cluster: Cluster, name: str) -> Place:
    """Return a repository of this cluster; raises Refusal where none has that name."""
    number = backup_places.number_of(cluster, name)
    return Place(f"the repository {name}", cluster.repository.name, cluster.stanza, number)


def held(place: Place) -> tuple[Restorable, Archive]:
    """Return what a repository has to restore from; raises DeployError where it does not tell."""
    backups = ask(place.host, RestorableBackups, **place.asked)
    archive = ask(place.host, ArchiveListing, **place.asked)
    if backups is None or archive is None:
        raise DeployError(
            f"pgBackRest on {place.host} does not tell what the repository holds\n"
            f"    HINT: run `sudo -u postgres pgbackrest --stanza={place.stanza} info` there."
        )
    return backups, archive


def new(
    cluster: Cluster, text: str, found: Mapping[str, Progress], place: Place
) -> tuple[Plan, list[str]]:
    """Return a new plan and what it says to people; raises Refusal or DeployError.

    + place: the repository to restore from
    """
    for name, one in found.items():
        if one["fixed"]:
            raise Refusal(f"{cluster.postgresql.data_dir} on {name} {FIXED[one['fixed']]}", BY_HAND)
    target = parse(text)
    backups, archive = held(place)
    _refuse_without_main(cluster)
    way = route(target, backups["backups"], archive, backups["now"])
    way = without_tablespaces(way, _tablespaces(place, way))
    need = _refuse_want_of_room(cluster, way, found)
    known = [archive.newest_timeline]
    known += [one["timeline"] for host_ in found.values() for one in host_["directories"].values()]
    plan = Plan(
        target=text,
        stamp=stamp(),
        # Another cluster's repository opens to one host only.
        host=place.host if place.is_lent else _chosen(cluster),
        source=f"{work_dir(cluster)}/data",
        backups=tries(way.backups, archive.segment_bytes),
        timeline=way.timeline,
        highest=max(known),
        repository=place.repository,
        origin=place.stanza if place.is_lent else "",
        is_foreign=_is_foreign(cluster, backups["system"], found),
    )
    return plan, _lines(cluster, plan, target, way.backups[0], place, need)


def _refuse_without_main(cluster: Cluster) -> None:
    """Refuse (Refusal) while the first repository takes nothing, wherever the way begins."""
    main = ask(cluster.repository.name, RestorableBackups, **own_place(cluster, MAIN).asked)
    if main is None or not main["stanza"]:
        what = "does not answer" if main is None else "has no stanza"
        raise Refusal(
            f"the repository {MAIN} {what}: what is restored is backed up there first",
            'mend it: docs/operations.md, "The repository is lost".',
        )


def _is_foreign(cluster: Cluster, system: str, found: Mapping[str, Progress]) -> bool:
    """Say whether what runs was not born as the database that the repository has backups of."""
    data = cluster.postgresql.data_dir
    directories = (one["directories"] for one in found.values())
    there = {one[data]["system"] for one in directories if data in one}
    return bool(there - {"", system})


def _tablespaces(place: Place, way: Route) -> dict[str, list[str]]:
    """Return the tablespaces in each backup of the way; raises DeployError for "cannot tell"."""
    labels = [backup.label for backup in way.backups]
    found = ask(place.host, BackupTablespaces, labels=labels, **place.asked) or {}
    for label in labels:
        if label not in found:
            which = f"--stanza={place.stanza} --repo={place.repository} --set={label}"
            raise DeployError(
                f"pgBackRest on {place.host} does not tell what is in the backup {label}\n"
                f"    HINT: run `sudo -u postgres pgbackrest {which} info` there; if it is damaged,"
                " docs/operations.md says how to do without it."
            )
    return found


def _refuse_want_of_room(cluster: Cluster, way: Route, found: Mapping[str, Progress]) -> int:
    """Return the MiB that each host needs beside what it has; raises Refusal for want of them."""
    size = max(backup.size for backup in way.backups) >> 20
    need = size + size // 10 + cluster.postgresql.minimum_free_mib
    for name, one in found.items():
        if one["free_mib"] < need:
            raise Refusal(
                f"{name} has {one['free_mib']} MiB free beside {cluster.postgresql.data_dir}, and"
                f" {need} MiB are needed: the old data stays while the new is made",
                "enlarge that file system, or remove what an earlier restore left"
                f" ({cluster.postgresql.data_dir}.before-*).",
            )
    return need


def _chosen(cluster: Cluster) -> str:
    """Return who is to do the work: a replica that streams, whom clients miss least."""
    urls = {member.name: cluster.rest_url(member) for member in cluster.postgres_members}
    first = cluster.postgres_members[0].name
    members = [PatroniMember(**one) for one in ask(first, PatroniStatus, urls=urls) or []]
    idle = [m.name for m in members if m.is_healthy and not m.is_leader]
    return idle[0] if leader(members) and idle else first


def _lines(
    cluster: Cluster, plan: Plan, target: Target, backup: Backup, place: Place, need: int
) -> list[str]:
    older = f" or one of {len(plan.backups) - 1} older" if len(plan.backups) > 1 else ""
    lost = "is there now" if plan.origin else "was committed after the target"
    names = ", ".join(node.name for node in cluster.postgres_members)
    ended = f"{datetime.fromtimestamp(backup.stopped, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return [
        "",
        f"{plan.title(cluster)} to: {target}",
        f"  from       backup {backup.label}{older} of {place.name}, which ended {ended}",
        f"  along      timeline {plan.timeline}",
        *(["  instead of another database, which runs now"] if plan.is_foreign else []),
        f"  on         {plan.host}, which leads afterwards; the others are filled anew",
        f"  old data   stays in {plan.aside(cluster)} on {names}",
        f"  room       {need} MiB on each of them",
        f"  lost       all that {lost}, for clients",
    ]
