"""May we proceed? Pure functions that answer, asked by operations with facts in hand.

Each one refuses (raises `Refusal`) rather than guess: "cannot tell" is not "yes".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


class Refusal(Exception):
    """Going on would do harm; the message says which, and a HINT how to mend it."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}\n    HINT: {hint}")


class NotYet(Refusal):
    """What is refused now comes about by itself in a moment, as a rule."""


# --- etcd -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EtcdLocal:
    """What a host's own disk says of its etcd member.

    + has_data: a data directory with a member in it
    + formed: the member has once been part of a healthy cluster
    """

    has_data: bool
    formed: bool


@dataclass(frozen=True)
class EtcdMember:
    """One member as the cluster lists it; `name` is empty until it has started once."""

    id: str
    name: str
    peer_url: str


EtcdStart = Literal["keep", "first start", "join"]


def etcd_start(
    host: str,
    local: Mapping[str, EtcdLocal],
    cluster: Sequence[EtcdMember] | None,
) -> EtcdStart:
    """Say how `host` becomes a member; raises Refusal when its data would be lost or doubled.

    + host: name of the host
    + local: the state of every etcd host's disk, by name
    + cluster: members as a cluster with a quorum lists them; None when none answers

    A host with data keeps it. A wiped or new one joins a cluster that answers as a new member.
    Without an answer, only a cluster that never formed may start afresh: an empty member that
    takes the old one's place by "first start" would vote with an empty log.
    """
    if local[host].has_data:
        return "keep"
    if cluster is not None:
        return "join"
    formed = sorted(name for name, state in local.items() if state.formed)
    if formed:
        raise Refusal(
            f"{host} has no etcd data, and no quorum answers that {', '.join(formed)} had formed",
            "start the other etcd members first; if they are lost: docs/operations.md,"
            ' "etcd has lost its quorum".',
        )
    return "first start"


def would_lose_quorum(members: int, healthy: int, stopping: int = 1) -> bool:
    """Say whether stopping `stopping` of the `healthy` members leaves less than a quorum.

    A single member has no quorum to keep: its restart is an outage whatever one does.
    """
    return members > 1 and healthy - stopping < members // 2 + 1


# --- Patroni ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PatroniMember:
    """One member as Patroni shows it.

    + role, state: "leader" and "running", or "replica" and "streaming", when all is well; a
      replica that confirms commits is a "quorum_standby" or "sync_standby"
    + lag: in bytes, None when unknown
    + replayed: up to which position in WAL, in bytes; None when unknown, or for a leader
    + pending_restart: a changed parameter waits for a restart
    + lowers: among these is one that no standby may have lower than its primary, and it goes down
    + only_lowers: there is no other kind among them
    """

    name: str
    role: str
    state: str
    timeline: int | None = None
    lag: int | None = None
    pending_restart: bool = False
    lowers: bool = False
    only_lowers: bool = False
    replayed: int | None = None

    @property
    def is_leader(self) -> bool:
        return self.role in ("leader", "standby_leader")

    @property
    def is_synchronous(self) -> bool:
        """A replica whose confirmation commits wait for: it may lead next and loses none."""
        return self.role in ("quorum_standby", "sync_standby")

    @property
    def is_healthy(self) -> bool:
        """A leader that runs, or a replica that streams."""
        return self.state == ("running" if self.is_leader else "streaming")


def leader(members: Sequence[PatroniMember]) -> PatroniMember | None:
    """Return the leader that runs, or None."""
    return next((m for m in members if m.is_leader and m.is_healthy), None)


def next_restart(
    members: Sequence[PatroniMember], within: Sequence[str]
) -> tuple[Literal["restart", "switchover"], PatroniMember] | None:
    """Return the next step towards no pending restart among `within`; None when there is none.

    Replicas come first. The leader comes last, by a switchover, since its demotion is the restart.
    Only where a parameter goes down that standbys must not have lower than their primary (such as
    max_connections), the leader restarts in place and such replicas follow: before it, they would
    come back with the old value. Raises Refusal while another member is not healthy, since a
    restart would then take a second one away.
    """
    pending = [m for m in members if m.pending_restart and m.name in within]
    if not pending:
        return None
    target = min(pending, key=lambda m: 1 if m.is_leader else 2 if m.only_lowers else 0)
    if sick := [m.name for m in members if not m.is_healthy and m.name != target.name]:
        raise Refusal(
            f"{target.name} needs a restart, but {sick[0]} is not healthy: two would be down",
            f"bring {sick[0]} back (patronictl list), then run this again.",
        )
    if target.is_leader:
        alone = len(members) == 1
        return ("restart" if alone or target.lowers else "switchover"), target
    primary = leader(members)
    if target.only_lowers and primary and primary.lowers:
        raise Refusal(
            f"{target.name} can lower its parameters only after {primary.name}, the primary",
            "run this again without --limit.",
        )
    return "restart", target


def switchover_candidate(members: Sequence[PatroniMember]) -> PatroniMember:
    """Return the healthy replica with the least lag; raises Refusal when there is none.

    Where some confirm commits it is one of them: Patroni hands over to no other.
    """
    able = [m for m in members if not m.is_leader and m.is_healthy and m.lag is not None]
    if not able:
        raise Refusal("no replica is fit to take over", "wait until one streams (patronictl list).")
    return min(able, key=lambda m: (not m.is_synchronous, m.lag or 0))


def handover(
    members: Sequence[PatroniMember], candidate: str | None, maximum_lag_mib: int
) -> tuple[PatroniMember, PatroniMember]:
    """Return who hands the lead over and who takes it; raises Refusal unless all is well.

    + candidate: who is wished for; None is the one that is nearest
    + maximum_lag_mib: what the new primary may lack: writes wait until it has that

    The old primary is away for some seconds: with another member down nobody would be left.
    """
    hint = "see `patronictl list`; `patronictl switchover` asks none of this."
    old = leader(members)
    if old is None:
        raise Refusal("nobody leads, so nobody can hand over", hint)
    if sick := [m.name for m in members if not m.is_healthy]:
        raise Refusal(f"{sick[0]} does not stream: two would be away during a switchover", hint)
    if candidate not in (None, *(m.name for m in members)):
        names = ", ".join(m.name for m in members if m != old)
        raise Refusal(f"there is no member {candidate}", f"candidates are {names}.")
    wished = [m for m in members if candidate in (None, m.name)]
    if candidate == old.name:
        raise Refusal(f"{old.name} is the primary already", "leave candidate= out for any other.")
    new = switchover_candidate(wished)
    if any(m.is_synchronous for m in members) and not new.is_synchronous:
        raise NotYet(f"{new.name} confirms no commits yet: it could lack some", hint)
    if (new.lag or 0) > maximum_lag_mib << 20:
        lag = (new.lag or 0) >> 20
        raise Refusal(f"{new.name} lags {lag} MiB, and {maximum_lag_mib} MiB are allowed", hint)
    return old, new


def may_rotate(members: Sequence[PatroniMember], within: Sequence[str]) -> None:
    """Refuse (Refusal) to change passwords unless there is a leader and all of `within` stream.

    Who does not stream cannot learn the new passwords with the others, and might lead next.
    """
    primary = leader(members)
    sick = [m.name for m in members if m.name in within and not m.is_healthy]
    if primary is None or primary.name not in within or sick:
        what = f"{sick[0]} does not stream" if sick else "no leader takes part in this run"
        raise Refusal(
            f"{what}: passwords are changed when all is well",
            "see `patronictl list`; a host that is lost can be left out with --exclude.",
        )


def may_replace_authority(members: Sequence[PatroniMember]) -> None:
    """Refuse (Refusal) to replace the authority unless one member leads and all others stream.

    Who is away cannot learn whom to believe, and would be locked out by those who did.
    """
    sick = [m.name for m in members if not m.is_healthy]
    if sick or leader(members) is None:
        what = f"{sick[0]} neither leads nor streams" if sick else "nobody leads"
        raise Refusal(
            f"{what}: the authority is replaced when all is well",
            "see `patronictl list`; a host that is gone has to be replaced first.",
        )
