"""A planned switchover: only when all is well, and over when all is well again."""

import time

from pyinfra import host, state
from pyinfra.api import OperationError, operation

import plan
from cluster import Cluster, Host
from credentials import Secrets
from decisions import PatroniMember, Refusal, handover, leader
from operations import Commands, patroni_changes, rotation
from operations.waiting import wait_until
from platforms import Platform

# A shutdown checkpoint is written first; then it takes seconds.
SETTLED_SECONDS = 300.0
LOOK_HINT = "look at `patronictl list` and `journalctl -u patroni` there."


@operation()
def ready(cluster: Cluster, candidate: str | None) -> Commands:
    """
    Refuse to begin unless all is well and the candidate is fit.

    + cluster: the whole cluster
    + candidate: who shall lead; None for the replica that is nearest

    **Example:**

    .. code:: python

        switchover.ready(name="See whether all is well", cluster=cluster, candidate=None)
    """
    if _is_mine(cluster):
        old, new = _parties(cluster, candidate)
        host.log(f"{old.name} leads, and {new.name} is fit to")
    host.noop("the cluster is well")
    yield from ()


@operation()
def moved(cluster: Cluster, platform: Platform, candidate: str | None) -> Commands:
    """
    Hand the lead over, and wait until every member leads or streams again.

    + cluster: the whole cluster
    + platform: of the hosts
    + candidate: who shall lead; None for the replica that is nearest

    **Example:**

    .. code:: python

        switchover.moved(name="Move", cluster=cluster, platform=platform, candidate=None)
    """
    if not _is_mine(cluster):
        host.noop("another host sees to that")
        return
    old, new = _parties(cluster, candidate)
    started = time.monotonic()
    yield patroni_changes.switched_over(cluster, platform, old, new)
    wait_until(f"{new.name} leads", lambda: _leads(cluster, new), SETTLED_SECONDS, LOOK_HINT)
    host.log(f"{new.name} leads, {time.monotonic() - started:.1f} s after the request")
    wait_until(
        "all members lead or stream",
        lambda: patroni_changes.all_healthy(cluster),
        SETTLED_SECONDS,
        LOOK_HINT,
    )
    host.log(f"all members lead or stream, {time.monotonic() - started:.1f} s after the request")


@operation()
def proven(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> Commands:
    """
    Wait until a write through this HAProxy comes about.

    + cluster: the whole cluster
    + here: an HAProxy host
    + platform: of that host
    + secrets: the cluster's passwords

    **Example:**

    .. code:: python

        switchover.proven(
            name="Prove", cluster=cluster, here=here, platform=platform, secrets=secrets
        )
    """
    if state.is_executing:
        wait_until(
            "a write through HAProxy",
            lambda: not rotation.unwritten(cluster, here, platform, secrets),
            SETTLED_SECONDS,
            "look at `pyinfra inventory.py verify.py -y`.",
        )
    host.noop("writes reach the primary")
    yield from ()


def _is_mine(cluster: Cluster) -> bool:
    """Say whether this host, of all database hosts, is to ask and to act."""
    names = [member.name for member in cluster.postgres_members]
    return bool(state.is_executing) and plan.first_of(names)


def _parties(cluster: Cluster, candidate: str | None) -> tuple[PatroniMember, PatroniMember]:
    members = patroni_changes.ask_members(cluster) or []
    try:
        return handover(members, candidate, cluster.verify.maximum_lag_mib)
    except Refusal as refusal:
        raise OperationError(str(refusal)) from None


def _leads(cluster: Cluster, new: PatroniMember) -> bool:
    head = leader(patroni_changes.ask_members(cluster) or [])
    return head is not None and head.name == new.name
