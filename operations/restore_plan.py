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
from facts.restore import Progress, RestoreProgress
from platforms import Platform

UNDO = "undo"
STAMP = "%Y%m%dT%H%M%SZ"


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
                "    HINT: leave --limit and --exclude out. A host that is gone has to be replaced"
                " first."
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
