"""What one restore is going to do: made once, before anything is changed, and written down.

A run that goes on with what another began takes over its plan, which the database hosts keep.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pyinfra import host, inventory
from pyinfra.api.exceptions import DeployError

from cluster import Cluster
from decisions import PatroniMember, Refusal, leader
from facts.patroni import PatroniStatus
from facts.restorable import ArchiveListing, Restorable, RestorableBackups
from facts.restore import Progress, RestoreProgress
from operations import backup_places
from operations.peers import ask
from platforms import Platform
from recovery import Archive, Backup, Route, route, tries
from recovery_target import Target, parse

UNDO = "undo"
STAMP = "%Y%m%dT%H%M%SZ"
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


@dataclass(frozen=True)
class Plan:
    """One restore, from its beginning to its end.

    + target: as it was typed; `UNDO` puts an old data directory back
    + stamp: when it began; the names of what is put aside end with it
    + host: where the database is restored, and who leads afterwards
    + source: its directory there, until it takes the data directory's place
    + backups: labels, the first to try first, as `recovery.tries` tells how far
    + timeline: which one to follow
    + highest: the highest timeline that anybody knew
    + repository: pgBackRest's number of the one that the backups are in
    + origin: the stanza of the other cluster that this one becomes a clone from, or ""
    + is_foreign: what runs now was not born as the same database, and etcd knows it as that
    """

    target: str
    stamp: str
    host: str
    source: str
    backups: tuple[str, ...]
    timeline: int
    highest: int
    repository: int = 1
    origin: str = ""
    is_foreign: bool = False

    @property
    def brings_another(self) -> bool:
        """Say whether what runs now is of another cluster or database than what is restored."""
        return self.is_foreign or bool(self.origin)

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def title(self, cluster: Cluster) -> str:
        """Return what it is, for people; the target follows."""
        if self.origin:
            return f"Clone of {self.origin} into {cluster.general.name}"
        return f"Restore of {cluster.general.name}"

    def aside(self, cluster: Cluster) -> str:
        """Return where the old data directory is put on each host."""
        return f"{cluster.postgresql.data_dir}.before-{self.stamp}"


def work_dir(cluster: Cluster) -> str:
    """Return the directory of a restore that is under way, beside the data directory."""
    return f"{cluster.postgresql.data_dir}.restore"


def read(document: Mapping[str, Any]) -> Plan:
    """Return the plan that a host has written down."""
    return Plan(**{**document, "backups": tuple(document["backups"])})


def progress_of(name: str, cluster: Cluster, platform: Platform) -> Progress:
    """Return how far a host is, asked anew; raises DeployError where it does not tell."""
    found: Progress | None = inventory.get_host(name).get_fact(
        RestoreProgress,
        data_dir=cluster.postgresql.data_dir,
        bin_dir=platform.postgresql_bin,
        _sudo=True,
    )
    if found is None:
        raise DeployError(
            f"cannot tell what {name} has of a restore\n    HINT: try ssh to it, and df there."
        )
    return found


def everybody(cluster: Cluster, platform: Platform) -> dict[str, Progress]:
    """Return how far each database host is; raises DeployError unless all that matter take part."""
    active = {member.name for member in inventory.get_active_hosts()}
    for member in (*cluster.postgres_members, cluster.repository):
        if member.name not in active:
            raise DeployError(
                f"{member.name} is not part of this run, and could bring the old data back\n"
                "    HINT: leave --limit and --exclude out. A host that is gone has to be taken out"
                " of the inventory first."
            )
    if not any(member.name in active for member in cluster.etcd_members):
        raise DeployError(
            "no member of etcd is part of this run, and what etcd knows has to be forgotten\n"
            "    HINT: leave --limit and --exclude out."
        )
    return {
        node.name: progress_of(node.name, cluster, platform) for node in cluster.postgres_members
    }


def stamp() -> str:
    """Return the present moment as names of directories end."""
    return datetime.fromtimestamp(time.time(), UTC).strftime(STAMP)


def begun(found: Mapping[str, Progress]) -> Plan | None:
    """Return the plan that an earlier run wrote down on any host, or None."""
    return next((read(one["plan"]) for one in found.values() if one["plan"]), None)


def own_place(cluster: Cluster, name: str) -> Place:
    """Return a repository of this cluster; raises Refusal where none has that name."""
    number = backup_places.number_of(cluster, name)
    return Place(f"the repository {name}", cluster.repository.name, cluster.stanza, number)


def held(place: Place) -> tuple[Restorable, Archive]:
    """Return what a repository has to restore from; raises DeployError where it does not tell."""
    of_it = {"stanza": place.stanza, "repository": place.repository, "config": place.config}
    backups = ask(place.host, RestorableBackups, **of_it)
    archive = ask(place.host, ArchiveListing, **of_it)
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
            raise Refusal(
                f"{cluster.postgresql.data_dir} on {name} {FIXED[one['fixed']]}",
                "restore by hand, with Patroni stopped on all members:"
                " https://pgbackrest.org/user-guide.html.",
            )
    target = parse(text)
    backups, archive = held(place)
    way = route(target, backups["backups"], archive, backups["now"])
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


def _is_foreign(cluster: Cluster, system: str, found: Mapping[str, Progress]) -> bool:
    """Say whether what runs was not born as the database that the repository has backups of."""
    data = cluster.postgresql.data_dir
    there = {one["directories"][data]["system"] for one in found.values()
             if data in one["directories"]}  # fmt: skip
    return bool(there - {"", system})


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


def is_swapped(cluster: Cluster, plan: Plan, progress: Progress) -> bool:
    """Say whether a host has put its data aside for what was restored, or for a copy of that."""
    there = progress["directories"]
    return plan.aside(cluster) in there and plan.source not in there


def leads_unmoved(cluster: Cluster, platform: Platform, plan: Plan) -> bool:
    """Say whether the old data that was never moved is promoted, and runs again."""
    if plan.source != cluster.postgresql.data_dir:
        return False
    progress = progress_of(plan.host, cluster, platform)
    return progress["mark"].startswith("promoted") and progress["patroni"] == "active"


def mine(plan: Plan) -> bool:
    """Say whether this host is the one that is restored."""
    return bool(host.name == plan.host)
