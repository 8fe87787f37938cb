"""The virtual IP: on one HAProxy host, away from one that is lost or does not answer."""

import psycopg

from tests.e2e import deadlines
from tests.e2e import testbed as bed

PROXIES = [name for name, host in bed.HOSTS.items() if "haproxy" in host.groups]
WRITE = "SELECT pg_logical_emit_message(true, 'test', 'write')"


def holders() -> list[str]:
    """Return the HAProxy hosts that have the address; one that is down has none."""
    has = f"ip -o -4 address show to {bed.VIRTUAL_IP}"
    return [name for name in PROXIES if bed.on(name, f"{has} 2>/dev/null", check=False)]


def writes() -> bool:
    try:
        with bed.connect(bed.RW, host=bed.VIRTUAL_IP) as connection:
            connection.execute(WRITE)
    except psycopg.OperationalError:
        return False
    return True


def moved_from(old: str) -> None:
    """Wait until the address is elsewhere and leads to the primary."""
    others = [name for name in PROXIES if name != old]
    bed.wait_until(
        "the address to move", lambda: holders() == others and writes(), deadlines.SERVICE_BACK
    )


def test_one_host_has_it_and_clients_verify_whom_they_speak_to(cluster: None) -> None:
    assert len(holders()) == 1
    assert writes()


def test_it_leaves_a_host_that_is_lost_and_does_not_go_back(cluster: None) -> None:
    (old,) = holders()
    bed.docker("kill", "-s", "KILL", bed.HOSTS[old].container)
    try:
        every = ",".join(bed.HOSTS[name].address for name in (old, *PROXIES))
        with bed.connect(bed.RW, host=every, connect_timeout=3) as connection:
            connection.execute(WRITE)  # without the address: libpq takes the next of the list
        moved_from(old)
    finally:
        bed.docker("start", bed.HOSTS[old].container)
    active = "systemctl is-active haproxy keepalived | sort -u"
    bed.wait_until(
        "the host's return",
        lambda: bed.on(old, active, check=False) == "active",
        deadlines.SERVICE_BACK,
    )
    assert bed.deploy().changes == []
    assert old not in holders(), "moving back would cut every session once more"


def test_it_leaves_a_host_whose_haproxy_does_not_answer(cluster: None) -> None:
    (old,) = holders()
    bed.on(old, "systemctl kill -s STOP haproxy")
    try:
        moved_from(old)
    finally:
        bed.on(old, "systemctl kill -s CONT haproxy")
    assert old not in holders()
