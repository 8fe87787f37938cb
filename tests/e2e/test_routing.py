"""Who is led where: also while a replica lags or is lost, Patroni crashes, or HAProxy starts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.e2e import deadlines
from tests.e2e import testbed as bed

WHO = "SELECT host(inet_server_addr()), pg_is_in_recovery()"
WRITE = "SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))"
Answer = tuple[str, bool]


def asked(port: int) -> Answer | None:
    """Return the host that answers a new connection, and whether it is a replica."""
    try:
        with bed.connect(port) as connection:
            address, is_replica = connection.execute(WHO).fetchone() or ("", False)
    except psycopg.OperationalError:
        return None
    return next(name for name, host in bed.HOSTS.items() if host.address == address), is_replica


def readers(times: int = 6) -> set[str]:
    """Return who answers `times` new connections for reads; "" where one was refused."""
    return {answer[0] if (answer := asked(bed.RO)) else "" for _ in range(times)}


def read_by(names: set[str]) -> None:
    bed.wait_until(f"reads from {names}", lambda: readers() == names, deadlines.SERVICE_BACK)


def replicas() -> list[str]:
    primary = bed.primary()
    return [node for node in bed.NODES if node != primary]


@contextmanager
def settings(**values: object) -> Iterator[None]:
    """Deploy HAProxy with other settings, and with the usual ones in the end."""
    data = [
        word for name, value in values.items() for word in ("--data", f"haproxy_{name}={value}")
    ]
    bed.deploy("--data", "phases=haproxy", *data)
    try:
        yield
    finally:
        bed.deploy("--data", "phases=haproxy")


def replay(node: str, signal: str) -> None:
    """Stop or continue a replica's replay; Patroni would resume one that was merely paused."""
    bed.on(node, f"kill -{signal} $(pgrep -f '^postgres: pgha: startup ')")


def test_replica_that_lags_gets_no_new_readers_and_keeps_those_it_has(cluster: None) -> None:
    late, other = replicas()
    with settings(ro_maximum_lag_mib=2):
        read_by({late, other})
        reports = [bed.connect(bed.RO) for _ in range(2)]
        replay(late, "STOP")
        try:
            for _ in range(6):
                bed.sql(bed.primary(), WRITE)
            read_by({other})
            where = {str((report.execute(WHO).fetchone() or [""])[0]) for report in reports}
            assert where == {bed.HOSTS[node].address for node in (late, other)}
        finally:
            replay(late, "CONT")
        read_by({late, other})
        for report in reports:
            report.close()


def test_without_a_replica_the_leader_is_read_from_or_nobody(cluster: None) -> None:
    primary, lost = bed.primary(), replicas()
    for node in lost:
        bed.on(node, "systemctl stop patroni")
    try:
        read_by({primary})
        with settings(ro_fallback="none"):
            read_by({""})
        read_by({primary})
    finally:
        for node in lost:
            bed.on(node, "systemctl start --no-block patroni")
    read_by(set(lost))


def test_crashed_patroni_costs_no_session_and_no_failover(cluster: None) -> None:
    primary, timeline = bed.primary(), bed.members()[bed.primary()]["timeline"]
    pid = "systemctl show -p MainPID --value patroni"
    with bed.connect(bed.RW) as connection:
        old = bed.on(primary, pid)
        bed.on(primary, f"kill -9 {old}")

        def writes_while_it_starts() -> bool:
            connection.execute("SELECT pg_logical_emit_message(true, 'test', 'write')")
            return bed.healthy() and bed.on(primary, pid) not in (old, "0")

        bed.wait_until("Patroni's return", writes_while_it_starts, deadlines.SERVICE_BACK)
    assert bed.members()[primary]["timeline"] == timeline
    assert bed.primary() == primary


def test_haproxy_that_starts_leads_nobody_astray(cluster: None) -> None:
    primary = bed.primary()
    for _ in range(3):
        bed.on("haproxy", "systemctl restart haproxy")
        answers: list[Answer] = []
        end = time.monotonic() + deadlines.COMMAND
        while len(answers) < 5:
            assert time.monotonic() < end
            if answer := asked(bed.RW):
                answers.append(answer)
                assert answer == (primary, False)
            if answer := asked(bed.RO):
                assert answer[1], "a reader was led to the leader"
