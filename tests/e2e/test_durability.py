"""What a commit waits for, what goes on without etcd, and where a replica gets its data from."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed

WRITE = "SELECT pg_logical_emit_message(true, 'test', 'write')"
LEVEL = "SHOW synchronous_standby_names"


def replicas() -> list[str]:
    primary = bed.primary()
    return [node for node in bed.NODES if node != primary]


def level(durability: str) -> None:
    """Deploy a level of durability, and wait until the primary runs by it."""
    bed.deploy("--data", f"cluster_durability={durability}", "--data", "phases=patroni")
    wanted = "" if durability == "async" else f"ANY 1 ({','.join(replicas())})"
    bed.wait_until(
        f"{durability} commits",
        lambda: bed.sql(bed.primary(), LEVEL) == wanted,
        deadlines.SERVICE_BACK,
    )


@contextmanager
def stopped(unit: str, nodes: list[str]) -> Iterator[None]:
    for node in nodes:
        bed.on(node, f"systemctl stop {unit}")
    try:
        yield
    finally:
        for node in nodes:
            bed.on(node, f"systemctl start --no-block {unit}")  # etcd waits for its peers


def loops_pass(node: str, count: int) -> None:
    """Wait until Patroni on a node has been through its loop so many times more."""
    seen = {_last_loop(node)}

    def enough() -> bool:
        seen.add(_last_loop(node))
        return len(seen) > count

    bed.wait_until(f"{count} loops of Patroni", enough, deadlines.SERVICE_BACK)


def _last_loop(node: str) -> int:
    status = bed.on(node, f"{bed.CURL} https://{bed.HOSTS[node].address}:8008/patroni")
    return int(json.loads(status)["dcs_last_seen"])


def timeline() -> int:
    return int(bed.members()[bed.primary()]["timeline"])


def test_any_replica_confirms_a_commit_and_a_lone_survivor_goes_on(cluster: None) -> None:
    level("quorum")
    primary = bed.primary()
    with stopped("patroni", replicas()), bed.connect(bed.RW) as connection:
        connection.execute(WRITE)
        assert bed.primary() == primary


@pytest.mark.long
def test_strict_commits_wait_for_a_replica_to_come_back(cluster: None) -> None:
    level("strict")
    done = threading.Event()

    def write() -> None:
        with bed.connect(bed.RW) as connection:
            connection.execute(WRITE)
        done.set()

    writer = threading.Thread(target=write)
    primary = bed.primary()
    try:
        with stopped("patroni", replicas()):
            writer.start()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            bed.wait_until(
                "waiting for a replica",
                lambda: int(bed.sql(primary, waits)) > 0,
                deadlines.SERVICE_BACK,
            )
            loops_pass(primary, 3)
            assert not done.is_set()
        assert done.wait(deadlines.REJOIN)
        writer.join()
    finally:
        bed.wait_until("the replicas stream again", bed.healthy, deadlines.REJOIN)
        level("quorum")


@pytest.mark.long
def test_nobody_waits_where_the_settings_say_async(cluster: None) -> None:
    level("async")
    level("quorum")
    assert bed.deploy().changes == []


@pytest.mark.long
def test_writes_go_on_while_all_of_etcd_is_away(cluster: None) -> None:
    """Twice as long as the leader's lease lasts."""
    before, primary = timeline(), bed.primary()
    with stopped("etcd", bed.NODES), bed.connect(bed.RW) as connection:
        end = time.monotonic() + 40
        while time.monotonic() < end:
            connection.execute(WRITE)
    bed.wait_until("a healthy cluster", bed.healthy, deadlines.REJOIN)
    assert (timeline(), bed.primary()) == (before, primary)


def filled_by(node: str) -> str:
    """Copy a replica again; return the method that did it."""
    since = bed.on(node, "date '+%F %T'")
    bed.on(node, f"runuser -u postgres -- patronictl reinit pgha {node} --force")
    said = f"journalctl -u patroni --since '{since}' -o cat | grep 'replica has been created using'"
    line = bed.wait_until("a new copy", lambda: bed.on(node, said, check=False), deadlines.REJOIN)
    bed.wait_until("the replica streams again", bed.healthy, deadlines.REJOIN)
    return str(line.split()[-1])


def test_replica_is_filled_from_the_repository(cluster: None) -> None:
    """From a backup of an older timeline, whose history the primary does not have any more."""
    old = "ls /data/pgdata/pg_wal/*.history | sort | head -n -1 | xargs -r rm"
    bed.on(bed.primary(), old, check=False)
    assert filled_by(replicas()[0]) == "pgbackrest"


@pytest.mark.long
def test_replica_is_filled_from_the_primary_when_the_repository_is_closed(cluster: None) -> None:
    keys = "/var/lib/postgresql/.ssh/authorized_keys"
    bed.on("pgbackrest", f"mv {keys} {keys}.away")
    try:
        assert filled_by(replicas()[0]) == "basebackup"
    finally:
        bed.on("pgbackrest", f"mv {keys}.away {keys}")


@pytest.mark.long
def test_replica_gets_from_the_archive_what_the_primary_no_longer_has(cluster: None) -> None:
    primary, late = bed.primary(), replicas()[0]
    with stopped("patroni", [late]):
        missed = bed.sql(primary, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        bed.sql(primary, f"SELECT pg_drop_replication_slot('{late}')")
        gone = f"SELECT count(*) = 0 FROM pg_ls_waldir() WHERE name = '{missed}'"

        def wal_goes() -> bool:
            bed.sql(primary, f"{WRITE}; SELECT pg_switch_wal()")
            bed.sql(primary, "CHECKPOINT")
            return bed.sql(primary, gone) == "t"

        bed.wait_until("the primary's WAL to go", wal_goes, deadlines.ARCHIVED)
    bed.wait_until("the replica streams again", bed.healthy, deadlines.REJOIN)
    told = f"journalctl -u patroni -o cat | grep 'restored log file \"{missed}\"'"
    assert bed.on(late, told)


@pytest.mark.parametrize("parameter", ["max_slot_wal_keep_size"])
def test_a_lost_replica_does_not_fill_the_disk(cluster: None, parameter: str) -> None:
    assert bed.sql(bed.primary(), f"SHOW {parameter}") == "4GB"
