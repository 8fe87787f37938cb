"""A lost host costs a short pause, and the run after it changes nothing."""

from typing import Any

import psycopg
import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed


def query(port: int, sql: str) -> Any:
    """Return the first value of a query through HAProxy, or None while that does not answer."""
    try:
        with bed.connect(port) as connection:
            row = connection.execute(sql).fetchone()
            return row[0] if row else None
    except psycopg.OperationalError:
        return None


WHO = "SELECT host(inet_server_addr()) || ' ' || pg_is_in_recovery()"


def test_writes_and_reads_are_routed(cluster: None) -> None:
    leader = bed.primary()
    assert query(bed.RW, WHO) == f"{bed.HOSTS[leader].address} false"
    replicas = {f"{bed.HOSTS[node].address} true" for node in bed.NODES if node != leader}

    def readers() -> set[str]:
        found = {query(bed.RO, WHO) for _ in range(6)}
        assert f"{bed.HOSTS[leader].address} false" not in found
        return found

    # HAProxy sends to a replica that has just come back as soon as it has asked it again.
    bed.wait_until(
        "reads from both replicas", lambda: readers() == replicas, deadlines.SERVICE_BACK
    )


def test_haproxy_that_has_just_started_sends_no_write_to_a_replica(cluster: None) -> None:
    for command in ("reload", "restart", "reload"):
        bed.on("haproxy", f"systemctl {command} haproxy")
        found = [query(bed.RW, WHO) for _ in range(5)]
        assert found == [f"{bed.HOSTS[bed.primary()].address} false"] * 5, command


@pytest.mark.long
def test_killed_primary_is_replaced_and_comes_back(cluster: None) -> None:
    old = bed.primary()
    with bed.connect(bed.RW) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id int PRIMARY KEY)")
        connection.execute("INSERT INTO kept VALUES (1) ON CONFLICT DO NOTHING")
    bed.docker("kill", "-s", "KILL", bed.HOSTS[old].container)
    try:
        address = bed.wait_until(
            "a new primary", lambda: query(bed.RW, WHO), deadlines.FAILOVER
        ).split()[0]
        assert address != bed.HOSTS[old].address
        assert query(bed.RW, "SELECT count(*) FROM kept") == 1
        assert query(bed.RW, "SELECT pg_logical_emit_message(true, 'test', 'write')") is not None
    finally:
        bed.docker("start", bed.HOSTS[old].container)
    bed.wait_until("the old primary streams again", bed.healthy, deadlines.REJOIN)
    assert bed.primary() != old
    assert bed.deploy().changes == []
    assert bed.primary() != old, "a deploy must not move the primary back"


def etcd_url(node: str) -> str:
    return f"https://{bed.HOSTS[node].address}:2379"


def test_replaced_disk_on_a_node_is_filled_again(cluster: None) -> None:
    victim = next(node for node in bed.NODES if node != bed.primary())
    bed.on(victim, "systemctl stop patroni; rm -rf /data/pgdata /var/lib/etcd/pgha")
    bed.on(victim, "systemctl kill -s KILL etcd")
    # Left to itself, etcd would now form a cluster of one under its old name.
    alone = f"{bed.ETCDCTL} --endpoints {etcd_url(victim)} --command-timeout=2s member list"
    for _ in range(5):
        assert bed.on(victim, f"{alone} 2>/dev/null; sleep 1", check=False) == ""
    run = bed.deploy()
    assert "Change etcd members in turn" in run.changes
    bed.wait_until("the replica streams again", bed.healthy, deadlines.REJOIN)
    endpoints = ",".join(etcd_url(node) for node in bed.NODES)
    health = bed.on("node1", f"{bed.ETCDCTL} --endpoints {endpoints} endpoint health 2>&1")
    assert health.count("is healthy") == 3
    listed = bed.on("node1", f"{bed.ETCDCTL} --endpoints {endpoints} member list")
    assert listed.count("started") == 3
    assert bed.deploy().changes == []


def test_foreign_data_directory_is_never_overwritten(cluster: None) -> None:
    config = bed.PLATFORM.patroni_config
    victim = next(node for node in bed.NODES if node != bed.primary())
    bed.on(victim, f"systemctl stop patroni; mv {config} /root/patroni.was")
    version = bed.on(victim, "cat /data/pgdata/PG_VERSION; stat -c %Y /data/pgdata/base")
    try:
        run = bed.pyinfra("deploy.py", "-y")
        assert run.code == 1
        assert "that Patroni does not manage" in run.stderr
        assert "HINT" in run.stderr
        assert "Starting operation" not in run.stderr
    finally:
        bed.on(victim, f"mv /root/patroni.was {config}")
    assert bed.on(victim, "cat /data/pgdata/PG_VERSION; stat -c %Y /data/pgdata/base") == version
    bed.deploy()
