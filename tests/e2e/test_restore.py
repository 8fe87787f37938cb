"""The cluster goes back to a moment with exactly what was acknowledged by then, and forth again."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from faults import archive
from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import arrived_segment

RESTORE, UNDO = "day2/restore.py", "day2/restore_undo.py"
CONFIRM = ("--data", "confirm=pgha")
OLD = "/data/pgdata.before-*"
# Where a restore is killed, one after the other.
KILLED_AT = (
    "Write the plan down",
    "Restore a backup beside the data, up to the target",
    "Stop the replicas",
    "Stop the primary",
    "Let etcd forget who led",
    "Promote what was restored",
    "Put the old data aside and start the restored",
    "Take a full backup",
    "Put the replicas' old data aside and fill them",
    "Wait until this member leads or streams",
)


class Writer(threading.Thread):
    """Inserts one row after the other through HAProxy, and knows which were acknowledged."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self.first, self.turn = number * 1_000_000, threading.Lock()
        self.done, self.ends_with_the_cluster = threading.Event(), False
        self.acknowledged: set[int] = set()
        self.unknown: set[int] = set()

    def run(self) -> None:
        row, connection = self.first, None
        while not self.done.is_set():
            with self.turn:
                row += 1
                try:
                    connection = connection or bed.connect(bed.RW)
                    connection.execute("INSERT INTO written VALUES (%s)", (row,))
                    self.acknowledged.add(row)
                except psycopg.Error:
                    self.unknown.add(row)
                    connection = None
                    if self.ends_with_the_cluster:
                        return
            time.sleep(0.02)  # the lock goes to whoever waits for it


@contextmanager
def writing(count: int = 3) -> Iterator[list[Writer]]:
    """Let writers work until the block ends."""
    with bed.connect(bed.RW) as connection:
        connection.execute("DROP TABLE IF EXISTS written")
        connection.execute("CREATE TABLE written (id int PRIMARY KEY)")
    writers = [Writer(number) for number in range(1, count + 1)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.done.set()
        for writer in writers:
            writer.join(deadlines.COMMAND)


# How the superuser names the present moment, by the kind of target that it becomes.
MOMENTS = {
    "time": "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC',"
    " 'YYYY-MM-DD HH24:MI:SS.US+00:00')",
    "lsn": "SELECT pg_current_wal_insert_lsn()",
    "xid": "SELECT 'xid:' || pg_current_xact_id() FROM pg_logical_emit_message(true, 'test', 'x')",
    "name": "SELECT 'name:' || now FROM to_char(clock_timestamp(), 'SSSSUS') AS now,"
    " pg_create_restore_point(now)",
}


def moment(writers: list[Writer], kind: str = "time") -> tuple[str, set[int]]:
    """Return a moment in which no write is under way, and what was acknowledged by then."""
    with ExitStack() as held:
        for writer in writers:
            held.enter_context(writer.turn)
        time.sleep(0.1)
        now = bed.sql(bed.primary(), MOMENTS[kind])
        time.sleep(0.1)
        return now, union(writer.acknowledged for writer in writers)


def union(parts: Iterable[set[int]]) -> set[int]:
    return set[int]().union(*parts)


def moment_among_writes(writers: list[Writer], kind: str = "time") -> tuple[str, set[int]]:
    """Return a moment that has writes before it and after it, and what was acknowledged by then."""
    bed.wait_until("writes", lambda: len(writers[0].acknowledged) > 50, deadlines.SERVICE_BACK)
    target, by_then = moment(writers, kind)
    bed.wait_until(
        "writes after the target",
        lambda: all(writer.acknowledged - by_then for writer in writers),
        deadlines.SERVICE_BACK,
    )
    return target, by_then


def rows() -> set[int]:
    with bed.connect(bed.RW) as connection:
        return {row for (row,) in connection.execute("SELECT id FROM written")}


def timeline() -> int:
    return int(bed.members()[bed.primary()]["timeline"])


def failed_over() -> None:
    """Kill the primary's host, and wait until all is well again under another."""
    old = bed.primary()
    bed.docker("kill", "-s", "KILL", bed.container(old))
    try:
        bed.wait_until("a new primary", lambda: bed.primary() not in ("", old), deadlines.FAILOVER)
    finally:
        bed.docker("start", bed.container(old))
    bed.wait_until("the old primary streams again", bed.healthy, deadlines.REJOIN)


def restore(target: str) -> bed.Run:
    return bed.pyinfra(RESTORE, "-y", "--data", f"target={target}", *CONFIRM)


def undo(moment: str) -> bed.Run:
    """Put back what a restore has put aside then, or give up an unfinished one."""
    return bed.pyinfra(UNDO, "-y", "--data", f"target={moment}", *CONFIRM)


def put_aside() -> str:
    """Return when the newest restore put old data aside."""
    return bed.on(bed.primary(), f"ls -d {OLD}").splitlines()[-1].rpartition("-")[2]


@pytest.fixture
def room(cluster: None) -> Iterator[None]:
    """Old data is removed when the test has seen it."""
    yield
    for node in bed.NODES:
        bed.on(node, f"rm -rf {OLD}")


def test_to_a_time_across_a_failover_and_back(room: None) -> None:
    with writing() as writers:
        failed_over()
        bed.wait_until("writes", lambda: writers[0].acknowledged, deadlines.SERVICE_BACK)
        target, by_then = moment(writers)
        before, lost = timeline(), union(writer.unknown for writer in writers)
        for writer in writers:
            writer.ends_with_the_cluster = True
        bed.wait_until(
            "writes after the target",
            lambda: all(writer.acknowledged - by_then for writer in writers),
            deadlines.SERVICE_BACK,
        )
        run = restore(target)
        assert run.code == 0, run.stderr[-6000:]
    found, started = rows(), timeline()
    # Of what broke off in the failover nobody was told whether it is there.
    assert by_then <= found <= by_then | lost
    assert started > before
    assert f"Restore of pgha to {target} is done" in run.stdout
    assert bed.healthy()
    for node in bed.NODES:
        assert bed.on(node, f"cat {OLD}/PG_VERSION") == "18", "the old data is beside the new"
    assert bed.deploy().changes == []
    run = undo(then := put_aside())
    assert run.code == 0, run.stderr[-6000:]
    assert timeline() > started
    assert union(writer.acknowledged for writer in writers) <= rows()
    assert f"no host has {OLD[:-1]}{then}" in undo(then).stderr, "once and not again"
    assert bed.deploy().changes == []


@pytest.mark.long
@pytest.mark.parametrize("kind", MOMENTS)
def test_exactly_the_rows_up_to_the_target(room: None, kind: str) -> None:
    """The writes after it are on the timeline of the target, and on one that a failover began."""
    with writing() as writers:
        target, by_then = moment_among_writes(writers, kind)
        failed_over()
        after = set(writers[0].acknowledged)
        bed.wait_until(
            "writes after it", lambda: writers[0].acknowledged - after, deadlines.SERVICE_BACK
        )
    everything, before = rows(), timeline()
    if kind == "lsn":  # which has to be in the archive when it is asked for; the others need not
        arrived_segment()
    run = restore(target)
    assert run.code == 0, run.stderr[-6000:]
    assert rows() == by_then
    assert timeline() > before
    assert bed.healthy()
    assert archive.breaches(bed.SITE) == []
    assert undo(put_aside()).code == 0
    assert rows() == everything, "the old primary's data had all"
    assert archive.breaches(bed.SITE) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("2099-01-01 00:00:00Z", "is in the future"),
        ("2020-01-01 00:00:00Z", "before the end of the oldest backup"),
        ("FFFF/0", "the archive lacks"),
        ("20200101-010000F", "there is no backup"),
        ("name:nobody made this", "the target is not in the archive"),
        ("xid:4000000000", "the target is not in the archive"),
    ],
)
def test_a_wrong_target_stops_nobody(cluster: None, target: str, says: str) -> None:
    primary, before = bed.primary(), timeline()
    try:
        run = restore(target)
        assert run.code != 0
        assert says in run.stderr
        assert (bed.primary(), timeline()) == (primary, before)
        assert bed.healthy()
    finally:
        undo("")  # where it was refused at once there is nothing to give up


@pytest.fixture
def backup_with_a_tablespace(cluster: None) -> Iterator[None]:
    """The newest backup has one that is gone since."""
    for node in bed.NODES:
        bed.on(node, "install -d -o postgres -g postgres /srv/far")
    try:
        bed.sql(bed.primary(), "CREATE TABLESPACE far LOCATION '/srv/far'")
        bed.on("pgbackrest", "systemctl start pgbackrest-backup@incr.service")
        bed.sql(bed.primary(), "DROP TABLESPACE far")
        yield
    finally:
        bed.on("pgbackrest", "systemctl start pgbackrest-backup@full.service")
        for node in bed.NODES:
            bed.on(node, "rm -r /srv/far")


@pytest.mark.long
def test_a_backup_with_tablespaces_is_refused(backup_with_a_tablespace: None) -> None:
    run = restore("latest")
    assert run.code != 0
    assert (
        "has tablespaces, and what lies there would be overwritten: far at /srv/far" in run.stderr
    )
    assert bed.healthy()


@pytest.mark.long
def test_killed_restores_are_finished_by_the_next(room: None) -> None:
    with bed.connect(bed.RW) as connection:
        connection.execute("DROP TABLE IF EXISTS written")
        connection.execute("CREATE TABLE written (id int PRIMARY KEY)")
        connection.execute("INSERT INTO written VALUES (1)")
    target, _ = moment([])
    with bed.connect(bed.RW) as connection:
        connection.execute("INSERT INTO written VALUES (2)")
    for operation in KILLED_AT:
        bed.kill_at(operation, bed.command(RESTORE, "-y", "--data", f"target={target}", *CONFIRM))
        if operation == KILLED_AT[0]:
            continue  # it may have written nothing down yet
        refusal = bed.pyinfra("deploy.py", "-y")
        assert refusal.code != 0, operation
        assert "is in the middle of a restore" in refusal.stderr, operation
    other = restore("latest")
    assert "was begun" in other.stderr
    run = restore(target)
    assert run.code == 0, run.stderr[-6000:]
    assert rows() == {1}
    assert bed.healthy()
    assert bed.deploy().changes == []


def test_a_dry_run_changes_nothing(cluster: None) -> None:
    run = bed.pyinfra(RESTORE, "--dry", "--data", "target=latest")
    assert run.code == 0, run.stderr[-4000:]
    assert "Restore of pgha to: latest" in run.stderr
    for node in bed.NODES:
        assert bed.on(node, "ls -d /data/pgdata.*", check=False) == ""
    assert bed.deploy().changes == []
