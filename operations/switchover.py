"""A planned switchover: only when all is well, and over when all is well again.

The sessions of the pooled port wait meanwhile, and see no error. Each HAProxy host lets its own go
on by itself, after 40 seconds at the latest: no run that is killed leaves them waiting.
"""

import json
import time

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, StringCommand, operation

import plan
from cluster import Cluster, Host
from credentials import Secrets
from decisions import NotYet, PatroniMember, Refusal, handover, leader
from facts.component import Component
from identities import AUTHORITY, Identity
from operations import Commands, application, patroni_changes, rotation
from operations.pgbouncer import DRAIN_SECONDS, HOLD_UNIT
from operations.waiting import wait_until
from platforms import Platform

# Patroni counts a member that has just come back among those that confirm some loops later.
CONFIRMS_SECONDS = 30.0
# Patroni answers when the lead has moved, and gives up after 20 s, or after two loops.
ANSWER_SECONDS = 60
# Patroni waits for a shutdown checkpoint, most of whose work the one before has done.
SETTLED_SECONDS = 300.0
LOOK_HINT = "look at `patronictl list` and `journalctl -u patroni` there."
# The sessions go on by themselves within a second; whoever did not by then is told to.
LET_GO = (
    f"for i in $(seq 50); do systemctl -q is-active {HOLD_UNIT} || exit 0; sleep 0.1; done;"
    f" systemctl stop {HOLD_UNIT}"
)

MOVED: list[tuple[PatroniMember, PatroniMember, float]] = []
"""From whom to whom the lead was handed over in this run, and when."""
_refused: list[str] = []


@operation()
def ready(cluster: Cluster, platform: Platform, candidate: str | None) -> Commands:
    """
    Refuse to begin unless all is well and the candidate is fit; write a checkpoint on each member.

    + cluster: the whole cluster
    + platform: of this host
    + candidate: who shall lead; None for the replica that is nearest

    **Example:**

    .. code:: python

        switchover.ready(
            name="See whether all is well", cluster=cluster, platform=platform, candidate=None
        )
    """
    if state.is_executing:
        wait_until(
            f"{candidate or 'a replica'} confirms commits",
            lambda: _is_time(cluster, candidate),
            CONFIRMS_SECONDS,
            LOOK_HINT,
        )
    # What is on disk already need not be written while everybody waits.
    psql = f"{platform.postgresql_bin}/psql"
    yield application.sql(psql, cluster.postgresql.port, ["CHECKPOINT;"])


@operation()
def held() -> Commands:
    """
    Let this host's pooled sessions wait, as soon as their transactions are through.

    **Example:**

    .. code:: python

        switchover.held(name="Let pooled sessions wait")
    """
    yield StringCommand(f"systemctl start {HOLD_UNIT} || true")


@operation()
def moved(cluster: Cluster, here: Host, secrets: Secrets, candidate: str | None) -> Commands:
    """
    Hand the lead over, unless sessions would not wait; asked by the first database host.

    + cluster: the whole cluster
    + here: this host
    + secrets: the cluster's passwords
    + candidate: who shall lead; None for the replica that is nearest

    **Example:**

    .. code:: python

        switchover.moved(name="Move", cluster=cluster, here=here, secrets=secrets, candidate=None)
    """
    if not _is_mine(cluster):
        host.noop("another host sees to that")
        return
    if hasty := _not_waiting(cluster):
        host.noop(f"sessions on {', '.join(hasty)} do not wait")
        return
    try:
        old, new = _parties(cluster, candidate)
    except OperationError as refusal:
        # To stop here would leave the pooled sessions waiting: `settled` stops, when they go on.
        _refused.append(str(refusal))
        host.noop("nothing is moved")
        return
    host.log(f"switching over from {old.name} to {new.name}")
    MOVED.append((old, new, time.monotonic()))
    own = Identity("postgres", here.name)
    # Not patronictl, which needs a second to start while everybody waits.
    options = {
        "url": f"{cluster.rest_url(cluster.host(old.name))}/switchover",
        "user": f"patroni:{secrets.rest_api}",
        "data": json.dumps({"leader": old.name, "candidate": new.name}),
        "cacert": AUTHORITY,
        "cert": own.certificate,
        "key": own.key,
    }
    yield StringCommand(
        # A Patroni that froze never answers; what came of it is seen by `settled`.
        f"curl --silent --show-error --fail --max-time {ANSWER_SECONDS} --output /dev/null"
        " --config - || true",
        _stdin="".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items()),
    )


@operation()
def released() -> Commands:
    """
    See to it that this host's pooled sessions go on.

    **Example:**

    .. code:: python

        switchover.released(name="Let pooled sessions go on")
    """
    yield StringCommand(LET_GO)


@operation()
def settled(cluster: Cluster) -> Commands:
    """
    Wait until the new primary leads and every other member streams; asked by one database host.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        switchover.settled(name="Wait", cluster=cluster)
    """
    if not _is_mine(cluster):
        host.noop("another host sees to that")
        return
    if _refused:
        raise OperationError(_refused[-1])
    if not MOVED:
        raise OperationError(
            "nothing was moved: the pooled sessions of an HAProxy host would not wait\n"
            f"    HINT: no transaction may be open for more than {DRAIN_SECONDS} s then; see"
            " `journalctl -u pgha-hold` and pg_stat_activity."
        )
    _, new, started = MOVED[-1]

    def leads() -> bool:
        head = leader(patroni_changes.ask_members(cluster) or [])
        return head is not None and head.name == new.name

    wait_until(f"{new.name} leads", leads, SETTLED_SECONDS, LOOK_HINT)
    wait_until(
        "all members lead or stream",
        lambda: patroni_changes.all_healthy(cluster),
        SETTLED_SECONDS,
        LOOK_HINT,
    )
    host.noop(f"{new.name} leads, all others stream")
    host.log(f"{new.name} leads, and all is well {time.monotonic() - started:.0f} s after")
    yield from ()


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


def _is_time(cluster: Cluster, candidate: str | None) -> bool:
    """Say whether the lead can be handed over now; raises OperationError where it cannot at all."""
    members = patroni_changes.ask_members(cluster) or []
    try:
        handover(members, candidate, cluster.verify.maximum_lag_mib)
    except NotYet:
        return False
    except Refusal as refusal:
        raise OperationError(str(refusal)) from None
    return True


def _not_waiting(cluster: Cluster) -> list[str]:
    """Return the HAProxy hosts of this run whose pooled sessions do not wait."""
    active = {member.name for member in inventory.get_active_hosts()}
    found = {
        proxy.name: inventory.get_host(proxy.name).get_fact(
            Component, paths=[], units=[HOLD_UNIT], _sudo=True
        )
        for proxy in cluster.haproxy_hosts
        if proxy.name in active
    }
    return [
        name
        for name, said in found.items()
        if said is None or said["units"][HOLD_UNIT]["active"] != "active"
    ]
