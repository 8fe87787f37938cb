"""Backups while hosts and disks fail: no WAL is lost, and the next backup is good."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import (
    PGBACKREST,
    arrived_segment,
    info,
    switched_segment,
    wait_for_arrival,
)
from tests.e2e.test_restore import writing
from tests.e2e.test_verify import verify

pytestmark = pytest.mark.long
FULL, DIFF = "pgbackrest-backup@full.service", "pgbackrest-backup@diff.service"
AWAY_SECONDS = 600.0
REPOSITORY = "/data/pgbackrest"
# Half a minute of copying on the smallest machine: long enough to be hit in the middle.
BIG = "CREATE TABLE big AS SELECT g, md5(g::text) || md5((g + 1)::text) AS x FROM generate_series"
# 2 MB of WAL.
LOAD = "SELECT pg_logical_emit_message(true, 'load', repeat(md5(random()::text), 65536))"
GOOD = ("archiving", "backup", "gaps", "verified", "queue")


@pytest.fixture(scope="module")
def big(deployed: bed.Run) -> Iterator[None]:
    """Some 400 MB, so that a backup lasts."""
    bed.sql(bed.primary(), f"DROP TABLE IF EXISTS big; {BIG}(1, 4000000) AS g")
    yield
    bed.sql(bed.primary(), "DROP TABLE big")


@pytest.fixture
def whole(cluster: None, big: None) -> Iterator[None]:
    """After the fault: a backup is taken, the whole repository is read, and nothing lacks."""
    yield
    bed.wait_until("a healthy cluster", bed.healthy, deadlines.REJOIN)
    arrived_segment()
    before = len(info()["backup"])
    bed.on("pgbackrest", f"systemctl start {FULL} pgha-proof@verify.service")
    assert len(info()["backup"]) == before + 1
    _, proofs = verify()
    assert {name: proofs[name] for name in GOOD} == dict.fromkeys(GOOD, "ok")


def while_a_backup_runs(fault: Callable[[], None]) -> None:
    """Let something happen in the middle of a full backup, and wait for the backup's end."""
    bed.on("pgbackrest", f"systemctl start --no-block {FULL}")
    copying = f"ls -d {REPOSITORY}/backup/pgha/*F/pg_data/base {REPOSITORY}/backup/pgha/*F/bundle"
    before = bed.on("pgbackrest", f"{copying} 2>/dev/null", check=False)

    def has_begun() -> bool:
        now = bed.on("pgbackrest", f"{copying} 2>/dev/null", check=False)
        return len(now.split()) > len(before.split())

    bed.wait_until("the first copied file", has_begun, deadlines.COMMAND)
    assert state() == "activating"
    fault()
    bed.wait_until("the backup's end", lambda: state() != "activating", deadlines.ARCHIVED)


def state(unit: str = FULL) -> str:
    return bed.on("pgbackrest", f"systemctl is-active {unit}", check=False)


def ended(unit: str) -> str:
    """Start a backup, or wait for it where it runs, and return how it ended."""
    bed.on("pgbackrest", f"systemctl start --no-block {unit}")
    bed.wait_until(f"the end of {unit}", lambda: state(unit) != "activating", deadlines.REJOIN)
    return state(unit)


def leads_instead_of(lost: str) -> bool:
    """Say whether another member leads and has done with recovery: the lock comes first."""
    now = bed.primary()
    return now not in ("", lost) and bed.sql(now, "SELECT pg_is_in_recovery()") == "f"


def test_the_primary_is_killed(whole: None) -> None:
    lost = bed.primary()
    container = bed.HOSTS[lost].container
    try:
        while_a_backup_runs(lambda: bed.docker("kill", "-s", "KILL", container))
        assert state() == "failed"
        assert FULL in bed.on("pgbackrest", "systemctl --failed --plain --no-legend")
        bed.wait_until("a failover", lambda: leads_instead_of(lost), deadlines.FAILOVER)
        # The new primary's backup needs nobody who is not there.
        bed.on("pgbackrest", f"systemctl start {FULL}")
    finally:
        bed.docker("start", container)


def test_the_primary_is_lost_with_what_it_had_not_archived(whole: None) -> None:
    lost, repository = bed.primary(), bed.HOSTS["pgbackrest"].container
    bed.docker("kill", "-s", "KILL", repository)
    try:
        segments = [switched_segment() for _ in range(3)]
        bed.docker("kill", "-s", "KILL", bed.container(lost))
    finally:
        bed.docker("start", repository)
    try:
        bed.wait_until("a failover", lambda: leads_instead_of(lost), deadlines.FAILOVER)
        wait_for_arrival(segments)
    finally:
        bed.docker("start", bed.container(lost))


def test_the_replica_that_is_read_is_killed(whole: None) -> None:
    killed: list[str] = []

    def fault() -> None:
        # pgBackRest reads from the first replica that it finds.
        for name in bed.NODES:
            if bed.on(name, "pgrep -f 'pgbackrest.*backup:remote'", check=False) and (
                name != bed.primary()
            ):
                killed.append(name)
                bed.docker("kill", "-s", "KILL", bed.HOSTS[name].container)
                return

    while_a_backup_runs(fault)
    assert killed, "no replica was read"
    for name in killed:
        bed.docker("start", bed.HOSTS[name].container)


def test_the_repository_host_is_killed(whole: None) -> None:
    container = bed.HOSTS["pgbackrest"].container
    segments: list[str] = []

    def fault() -> None:
        bed.docker("kill", "-s", "KILL", container)
        segments.extend(switched_segment() for _ in range(3))
        bed.docker("start", container)
        bed.wait_until(
            "the repository host's return",
            lambda: (
                "running" in bed.on("pgbackrest", "systemctl is-system-running", check=False)
                or "degraded" in bed.on("pgbackrest", "systemctl is-system-running", check=False)
            ),
            deadlines.SERVICE_BACK,
        )

    while_a_backup_runs(fault)
    wait_for_arrival(segments)


@pytest.fixture
def small_disk(whole: None) -> Iterator[None]:
    """The repository on a disk that it nearly fills; what is there at the end stays."""
    small = "/mnt/small"

    def while_nothing_arrives(commands: str) -> None:  # or it would be lost between both places
        bed.on("pgbackrest", f"{PGBACKREST} stop --force")
        bed.on("pgbackrest", commands)
        bed.on("pgbackrest", f"{PGBACKREST} start")

    while_nothing_arrives(
        f"mkdir {small} && size=$(($(du -sm {REPOSITORY} | cut -f 1) + 200))"
        f" && mount -t tmpfs -o size=${{size}}m,mode=750 tmpfs {small}"
        f" && cp -a {REPOSITORY}/. {small}/ && mount --bind {small} {REPOSITORY}"
    )
    yield
    while_nothing_arrives(
        # What was told to stop may hold it for a moment.
        f"timeout 30 sh -c 'until umount {REPOSITORY}; do sleep 0.2; done'"
        f" && find {REPOSITORY} -mindepth 1 -delete"
        f" && cp -a {small}/. {REPOSITORY}/ && umount {small} && rmdir {small}"
    )


def test_the_repositorys_disk_is_full(small_disk: None) -> None:
    filler = f"{REPOSITORY}/filler"
    for size in ("1M", "4k"):  # to the last block: a segment of few changes is small
        bed.on("pgbackrest", f"dd if=/dev/zero bs={size} >>{filler} 2>&-", check=False)
    segments = [switched_segment() for _ in range(3)]
    assert ended(FULL) == "failed"
    assert FULL in bed.on("pgbackrest", "systemctl --failed --plain --no-legend")
    # Half a file may be there under another name; PostgreSQL knows that it is not archived.
    bed.on(bed.primary(), f"ls /data/pgdata/pg_wal/archive_status/{segments[-1]}.ready")
    with bed.connect(bed.RW) as connection:  # writes go on meanwhile
        connection.execute("CREATE TABLE IF NOT EXISTS meanwhile (x int)")
        connection.execute("DROP TABLE meanwhile")
    bed.on("pgbackrest", f"rm {filler}")
    wait_for_arrival(segments)


def test_the_repository_is_away_for_minutes_under_load(whole: None) -> None:
    """Its host answers nobody, which is worse than one that is not there: all wait for it."""
    primary, repository = bed.primary(), bed.container("pgbackrest")
    ready = "ls /data/pgdata/pg_wal/archive_status | grep -c ready || true"
    with writing() as writers, bed.connect(bed.RW) as load:
        bed.docker("pause", repository)
        try:
            end = time.monotonic() + AWAY_SECONDS
            while time.monotonic() < end:
                load.execute(LOAD)
                time.sleep(1)
            assert int(bed.on(primary, ready)) > 1, "WAL should have waited"
        finally:
            bed.docker("unpause", repository)
        # One that was due meanwhile, long before the WAL is there.
        assert ended(DIFF) == "inactive"
        assert bed.primary() == primary
    assert not any(writer.unknown for writer in writers)
    assert all(len(writer.acknowledged) > AWAY_SECONDS for writer in writers)
    bed.wait_until("the arrival of all", lambda: bed.on(primary, ready) == "0", deadlines.REJOIN)
