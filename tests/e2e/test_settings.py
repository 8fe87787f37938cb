"""A changed setting rolls through the cluster; bad ones are refused before anything happens."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed

PATRONICTL = "runuser -u postgres -- patronictl"
# Whoever asks the archive for WAL, as a replica does that has lost its primary, runs as well.
UP = ("running", "streaming", "in archive recovery")


@contextmanager
def watching_members() -> Iterator[list[int]]:
    """Record, until the block ends, how many members were away at a time."""
    away: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            found = bed.members()
            if len(found) == 3:
                states = [member["state"] for member in found.values()]
                away.append(sum(state not in UP for state in states))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield away
    finally:
        done.set()
        thread.join()


def parameters(**changes: object) -> str:
    """Return the testbed's postgresql_parameters with changes, as --data takes them."""
    base = {
        "max_connections": 100,
        "shared_buffers": "128MB",
        "max_wal_size": "512MB",
        "archive_timeout": "60s",
        "log_checkpoints": "on",
    }
    return f"postgresql_parameters={json.dumps(base | changes)}"


def shown(name: str) -> set[str]:
    """Return the values that a parameter has on the members."""
    query = f"runuser -u postgres -- psql -XAtc 'SHOW {name}'"
    return {bed.on(node, query) for node in bed.NODES}


def lower_behind_a_stalled_postmaster(node: str) -> None:
    """Lower max_connections while `node`'s postmaster is too busy to read its configuration."""
    cached = "cat /data/pgdata/patroni.dynamic.json"
    bed.on(node, "kill -STOP $(head -n 1 /data/pgdata/postmaster.pid)")
    try:
        bed.on(node, f"{PATRONICTL} edit-config --force -p max_connections=100 pgha")
        bed.wait_until(
            "Patroni's reload of PostgreSQL",
            lambda: (
                json.loads(bed.on(node, cached))["postgresql"]["parameters"]["max_connections"]
                == 100
            ),
            deadlines.SERVICE_BACK,
        )
    finally:
        bed.on(node, "kill -CONT $(head -n 1 /data/pgdata/postmaster.pid)")


def test_restart_parameter_rolls_with_one_member_down_at_most(cluster: None) -> None:
    before = bed.primary()
    with watching_members() as away:
        run = bed.deploy("--data", parameters(max_connections=120))
    assert shown("max_connections") == {"120"}
    assert max(away) <= 1
    assert bed.primary() != before, "the primary is switched over, not restarted"
    assert "Restart members that need it, one by one" in run.changes
    # Lowered again: standbys must not fall below the primary on the way, and the primary must not
    # be forgotten, though Patroni itself overlooks it.
    lower_behind_a_stalled_postmaster(bed.primary())
    with watching_members() as away:
        bed.deploy()
    assert shown("max_connections") == {"100"}
    assert max(away) <= 1
    assert bed.deploy().changes == []


def test_dropped_parameter_is_removed_and_a_foreign_one_stays(cluster: None) -> None:
    bed.deploy("--data", parameters(log_min_duration_statement="500ms"))
    assert shown("log_min_duration_statement") == {"500ms"}
    bed.on("node1", f"{PATRONICTL} edit-config --force -p log_temp_files=0 pgha")
    run = bed.deploy()
    assert "log_min_duration_statement: '500ms' -> (not set)" in run.stderr
    bed.wait_until("the reload", lambda: shown("log_min_duration_statement") == {"-1"}, 60)
    assert shown("log_temp_files") == {"0"}
    bed.on("node1", f"{PATRONICTL} edit-config --force -p log_temp_files=null pgha")
    assert bed.deploy().changes == []


@pytest.mark.long
def test_etcd_restarts_in_turn(cluster: None) -> None:
    def started() -> list[str]:
        ask = "systemctl show -p ExecMainStartTimestampMonotonic --value etcd"
        return [bed.on(node, ask) for node in bed.NODES]

    before = started()
    run = bed.deploy("--data", "etcd_heartbeat_ms=120")
    assert run.changes.count("Change etcd members in turn") == 3
    assert all(old != new for old, new in zip(before, started(), strict=True))
    bed.deploy()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("patroni_retry_timeout=9", "patroni_loop_wait + 2*patroni_retry_timeout is 21 s"),
        ("patroni_tll=30", "did you mean patroni_ttl?"),
        ("postgresql_version=12", "17 or 18"),
    ],
)
def test_bad_settings_change_nothing(cluster: None, data: str, says: str) -> None:
    run = bed.pyinfra("deploy.py", "-y", "--data", data)
    assert run.code == 1
    assert says in run.stderr
    assert "Starting operation" not in run.stderr
    assert "Traceback" not in run.stderr
