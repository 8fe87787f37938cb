"""Every fault that is tried, in words and in steps: one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from faults import rigs
from faults.site import Site
from faults.steps import (
    PATRONI,
    POSTMASTER,
    Step,
    cut,
    in_turn,
    leader_of_etcd,
    mended,
    nothing,
    power,
    shell,
    signalled,
    switched_over,
)

Chooser = Callable[[Site, Random], list[str]]
Promise = Literal["writes resume", "no write fails", "writes stop"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    + name: as users type it
    + what: happens, in words
    + choose: whom it happens to
    + strike, heal: what begins it, and what ends it
    + hold: seconds between the two
    + prepare, tidy: before the load begins, and after all is well again
    + promise: "no write fails" also means that the primary stays; "writes stop" before it ends
    + moves: another member leads before it is healed
    + is_slow: takes minutes: not among the random ones of every test run
    + drill: it needs a shell on the hosts only, and leaves nothing to repair by hand
    """

    name: str
    what: str
    choose: Chooser
    strike: Step
    heal: Step = nothing
    hold: float = 0.0
    prepare: Step = nothing
    tidy: Step = nothing
    promise: Promise = "writes resume"
    moves: bool = False
    is_slow: bool = False
    drill: bool = False


def primary(site: Site, _: Random) -> list[str]:
    """Choose the primary."""
    return [site.primary()]


def replica(site: Site, random: Random) -> list[str]:
    """Choose one replica."""
    return [random.choice(sorted(site.nodes.keys() - {site.primary()}))]


def replicas_then_primary(site: Site, random: Random) -> list[str]:
    """Choose every member, the primary last."""
    leader = site.primary()
    others = sorted(site.nodes.keys() - {leader})
    random.shuffle(others)
    return [*others, leader]


def primary_and_replica(site: Site, random: Random) -> list[str]:
    """Choose the primary and one replica."""
    return primary(site, random) + replica(site, random)


def etcd_follower(site: Site, random: Random) -> list[str]:
    """Choose a member of etcd that is not its leader."""
    return [random.choice(sorted(site.etcd.keys() - site.etcd_leaders()))]


def all_of_etcd(site: Site, _: Random) -> list[str]:
    """Choose every member of etcd."""
    return list(site.etcd)


def entrance(site: Site, _: Random) -> list[str]:
    """Choose the HAProxy host that clients reach now."""
    return [site.holder()]


def every_host(site: Site, random: Random) -> list[str]:
    """Choose all hosts: the proxy that waits, the repository, the replicas, and so on."""
    holder = site.holder()
    others = [name for name in site.proxies if name != holder]
    return [*others, holder, site.repository[0], *replicas_then_primary(site, random)]


# Longer than the lease: who is cut off or frozen for so long has lost the lead.
PAST_LEASE = 30.0
STOP_ETCD, START_ETCD = shell("systemctl stop etcd"), shell("systemctl start --no-block etcd")
# On a real cluster: the member comes back by itself, whatever becomes of who stopped it.
LEND_ETCD = shell(
    "systemd-run --quiet --collect --unit=pgha-drill --on-active=60"
    " --timer-property=AccuracySec=1s systemctl start etcd && systemctl stop etcd"
)
ETCD_IS_BACK = shell("systemctl stop pgha-drill.timer; systemctl start --no-block etcd")


def _etcd_and_a_replica(site: Site, targets: Sequence[str]) -> None:
    STOP_ETCD(site, list(site.etcd))
    power("kill")(site, targets)


def _etcd_and_the_replica_back(site: Site, targets: Sequence[str]) -> None:
    power("start")(site, targets)
    START_ETCD(site, [name for name in site.etcd if name not in targets])


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "patroni-killed", "Patroni of the primary is killed (SIGKILL)",
            primary, signalled("KILL", PATRONI), promise="no write fails", hold=5, drill=True,
        ),
        Fault(
            "postmaster-killed", "PostgreSQL of the primary is killed (SIGKILL)",
            primary, signalled("KILL", POSTMASTER), drill=True,
        ),
        Fault(
            "patroni-and-postmaster-killed", "both are killed at once on the primary",
            primary, signalled("KILL", PATRONI, POSTMASTER), drill=True,
        ),
        Fault(
            "patroni-frozen", "Patroni of the primary hangs (SIGSTOP) past the lease",
            primary, signalled("STOP", PATRONI), signalled("CONT", PATRONI),
            hold=PAST_LEASE, moves=True,
        ),
        Fault(
            "postmaster-frozen", "PostgreSQL's postmaster on the primary hangs (SIGSTOP)",
            primary, signalled("STOP", POSTMASTER), signalled("CONT", POSTMASTER), hold=10,
        ),
        Fault(
            "primary-killed", "the primary's host loses power, etcd's leader is elsewhere",
            primary, power("kill"), power("start"),
            prepare=leader_of_etcd(False), moves=True,
        ),
        Fault(
            "primary-and-etcd-leader-killed", "the same, and etcd's leader is lost with it",
            primary, power("kill"), power("start"),
            prepare=leader_of_etcd(True), moves=True,
        ),
        Fault(
            "primary-paused", "the primary's host stands still past the lease, and goes on",
            primary, power("pause"), power("unpause"), hold=PAST_LEASE, moves=True,
        ),
        Fault(
            "primary-shut-down", "the primary's host shuts down in order, and starts again",
            primary, power("stop"), power("start"), moves=True,
        ),
        Fault(
            "primary-cut", "the primary reaches no other host, nor they it",
            primary, cut(), mended, hold=PAST_LEASE, moves=True,
        ),
        Fault(
            "primary-deaf", "the primary hears nobody, and is heard",
            primary, cut(["input"]), mended, hold=PAST_LEASE, moves=True,
        ),
        Fault(
            "replica-killed", "a replica's host loses power",
            replica, power("kill"), power("start"), hold=10, promise="no write fails",
        ),
        Fault(
            "replica-cut", "a replica reaches no other host, nor they it",
            replica, cut(), mended, hold=PAST_LEASE, promise="no write fails",
        ),
        Fault(
            "etcd-member-cut", "a member of etcd, not its leader, reaches no other host's etcd",
            etcd_follower, cut(ports=(2379, 2380)), mended, hold=15, promise="no write fails",
        ),
        Fault(
            "etcd-member-lost", "one member of etcd is stopped",
            etcd_follower, LEND_ETCD, ETCD_IS_BACK, hold=15, promise="no write fails", drill=True,
        ),
        Fault(
            "etcd-lost", "all of etcd is stopped",
            all_of_etcd, STOP_ETCD, START_ETCD, hold=60, promise="no write fails",
        ),
        Fault(
            "etcd-and-a-replica-lost", "all of etcd is stopped, and a replica's host loses power",
            replica, _etcd_and_a_replica, _etcd_and_the_replica_back,
            hold=45, promise="writes stop",
        ),
        Fault(
            "two-hosts-killed", "the primary's host and a replica's lose power at once",
            primary_and_replica, power("kill"), power("start"), hold=10,
        ),
        Fault(
            "haproxy-killed", "HAProxy on the host of the virtual IP is killed (SIGKILL)",
            entrance, shell("systemctl kill --signal=KILL haproxy"), hold=5, drill=True,
        ),
        Fault(
            "haproxy-host-killed", "the HAProxy host that has the virtual IP loses power",
            entrance, power("kill"), power("start"), hold=10,
        ),
        Fault(
            "switchover", "the primary is moved as planned (day2/switchover.py)",
            replica, switched_over, drill=True,
        ),
        Fault(
            "switchover-to-each", "the primary is moved to each member in turn",
            replicas_then_primary, switched_over, is_slow=True,
        ),
        Fault(
            "rolling-restart", "all hosts restart, one after the other",
            every_host, in_turn(power("stop"), power("start")), is_slow=True,
        ),
        Fault(
            "wal-disk-full", "the primary's disk for WAL is full",
            primary, rigs.filled, rigs.emptied,
            prepare=rigs.small, tidy=rigs.ordinary, hold=20, is_slow=True,
        ),
        Fault(
            "clock-stepped", "the clock of the primary's Patroni is an hour ahead",
            primary, shell("echo +3600 >/run/pgha-clock"), shell("echo +0 >/run/pgha-clock"),
            prepare=rigs.clock_of_its_own, tidy=rigs.clock_of_all, hold=PAST_LEASE,
            is_slow=True,
        ),
    )
}  # fmt: skip


def schedule(seed: int, count: int) -> list[Fault]:
    """Return so many faults at random, none twice before all were tried; none that is slow."""
    random, found = Random(seed), list[Fault]()
    quick = [fault for fault in FAULTS.values() if not fault.is_slow]
    while len(found) < count:
        found += random.sample(quick, min(count - len(found), len(quick)))
    return found


def every_fault(seed: int, times: int) -> list[Fault]:
    """Return every fault so many times, in a random order."""
    random = Random(seed)
    rounds = [random.sample(list(FAULTS.values()), len(FAULTS)) for _ in range(times)]
    return [fault for one in rounds for fault in one]
