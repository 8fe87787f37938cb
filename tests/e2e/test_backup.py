"""WAL is archived at all times, and there is a backup from the first deploy on."""

import json
from collections.abc import Sequence
from typing import Any

from tests.e2e import deadlines
from tests.e2e import testbed as bed

PGBACKREST = "runuser -u postgres -- pgbackrest --stanza=pgha"


def info() -> Any:
    """Return what the repository says of the stanza."""
    return json.loads(bed.on("pgbackrest", f"{PGBACKREST} --output=json info"))[0]


def switched_segment() -> str:
    """Write something, switch WAL, and return the name of the segment that was closed."""
    sql = (
        "SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_walfile_name(pg_switch_wal())"
    )
    found = bed.on(bed.primary(), f'runuser -u postgres -- psql -XAtq -c "{sql}"')
    return found.splitlines()[-1]


def in_repository(segment: str) -> bool:
    path = f"archive/pgha/{info()['archive'][0]['id']}/{segment[:16]}"
    return segment in bed.on("pgbackrest", f"{PGBACKREST} repo-ls {path}")


def wait_for_arrival(segments: Sequence[str]) -> None:
    """Wait until all of them are in the repository."""
    bed.wait_until(
        f"the arrival of {', '.join(segments)}",
        lambda: all(in_repository(segment) for segment in segments),
        deadlines.ARCHIVED,
    )


def arrived_segment() -> str:
    """Return the name of a segment of WAL that is in the repository since just now."""
    segment = switched_segment()
    wait_for_arrival([segment])
    return segment


def test_first_deploy_leaves_a_full_backup(cluster: None) -> None:
    assert info()["backup"][0]["type"] == "full"
    bed.on("pgbackrest", f"{PGBACKREST} check")


def test_switched_wal_arrives_in_the_repository(cluster: None) -> None:
    arrived_segment()


def test_no_wal_is_lost_while_the_repository_is_away(cluster: None) -> None:
    container = bed.HOSTS["pgbackrest"].container
    bed.docker("kill", "-s", "KILL", container)
    try:
        segments = [switched_segment() for _ in range(3)]
    finally:
        bed.docker("start", container)
    bed.wait_until(
        "the repository host's start",
        lambda: (
            "ssh" in bed.on("pgbackrest", "systemctl is-active sshd >&- && echo ssh", check=False)
        ),
        deadlines.SERVICE_BACK,
    )
    wait_for_arrival(segments)


def test_backups_that_are_due_together_are_taken_one_after_the_other(cluster: None) -> None:
    before = len(info()["backup"])
    bed.on("pgbackrest", "systemctl start pgbackrest-backup@diff pgbackrest-backup@incr")
    assert [one["type"] for one in info()["backup"][before:]] in (
        ["diff", "incr"],
        ["incr", "diff"],
    )


def test_backup_timers_run_and_a_failure_is_visible(cluster: None) -> None:
    timers = bed.on("pgbackrest", "systemctl list-timers --all --no-legend")
    assert "pgbackrest-backup@full.timer" in timers
    assert "pgbackrest-backup@diff.timer" in timers
    bed.on("pgbackrest", "systemctl start pgbackrest-backup@diff.service")
    assert info()["backup"][-1]["type"] == "diff"
    bed.on("pgbackrest", "systemctl start pgbackrest-backup@nonsense.service", check=False)
    failed = bed.on("pgbackrest", "systemctl --failed --plain --no-legend")
    assert "pgbackrest-backup@nonsense.service" in failed
    bed.on("pgbackrest", "systemctl reset-failed pgbackrest-backup@nonsense.service")
