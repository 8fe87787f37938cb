"""A port is open to the hosts that need it, and closed to everybody else."""

import pytest

from tests.e2e import testbed as bed

# (from, to, port): who may, and who may not.
OPEN = [("haproxy", "node1", 8008), ("haproxy", "node1", 5432), ("node2", "node1", 2380),
        ("outsider", "haproxy", 5000), ("outsider", "node1", 22)]  # fmt: skip
CLOSED = [("outsider", "node1", port) for port in (2379, 2380, 5432, 8008)]
CLOSED += [("haproxy", "node1", 2379), ("pgbackrest", "node1", 8008), ("outsider", "haproxy", 7000)]


def reaches(source: str, target: str, port: int) -> bool:
    address = bed.HOSTS[target].address
    probe = f"timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo open"
    return bed.on(source, probe, check=False) == "open"


@pytest.mark.parametrize(("source", "target", "port"), OPEN)
def test_open_to_those_who_need_it(cluster: None, source: str, target: str, port: int) -> None:
    assert reaches(source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), CLOSED)
def test_closed_to_everybody_else(cluster: None, source: str, target: str, port: int) -> None:
    assert not reaches(source, target, port)


def test_rule_that_the_settings_dropped_is_removed(cluster: None) -> None:
    networks = 'cluster_client_networks=["192.0.2.0/24"]'
    bed.deploy("--data", networks, "--data", "phases=firewall")
    assert not reaches("outsider", "haproxy", 5000)
    bed.deploy("--data", "phases=firewall")
    assert reaches("outsider", "haproxy", 5000)
