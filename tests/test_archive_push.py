"""WAL goes into several repositories, and one that is away keeps it from none of the others."""

import subprocess
from pathlib import Path

import pytest

from operations import config_files

# It says whom it was called for, and fails for those whose number is in `away`; at the first call
# for one that has a file `locked-<number>` it finds another host at work there.
PGBACKREST = """#!/bin/sh
number=${1%.conf} number=${number##*-}
echo "$number $*" | sed 's/--config=[^ ]* --stanza=pgha //; s/archive-push //' >>asked
if rm "locked-$number" 2>/dev/null; then
    echo "repo1: [LockAcquireError] unable to acquire lock on file '/tmp/pgha-archive-1.lock'"
    exit 103
fi
! grep -q "$number" away
"""
READY = ["000000010000000000000004", "000000010000000000000005", "00000001000000000000000A"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with three segments that wait, and one that does not."""
    (tmp_path / "pgbackrest").write_text(PGBACKREST)
    (tmp_path / "pgbackrest").chmod(0o755)
    status = tmp_path / "pg_wal/archive_status"
    status.mkdir(parents=True)
    for name in READY:
        (status / f"{name}.ready").touch()
    (status / "00000001000000000000000B.done").touch()
    return tmp_path


def pushed(data: Path, away: str, wal: str = f"pg_wal/{READY[0]}") -> tuple[int, list[str]]:
    """Return the exit status, and which repository was given what."""
    (data / "away").write_text(away or "none")
    configs = [f"/etc/push-{number}.conf" for number in (1, 2, 3)]
    script = config_files.render("pgha-pgbackrest-push.j2", stanza="pgha", configs=configs)
    done = subprocess.run(
        ["/bin/sh", "-c", script, "push", wal], cwd=data, timeout=30,
        env={"PATH": f"{data}:/usr/bin:/bin"},
    )  # fmt: skip
    return done.returncode, sorted((data / "asked").read_text().splitlines())


def test_every_repository_gets_it(data: Path) -> None:
    assert pushed(data, "") == (0, [f"{number} pg_wal/{READY[0]}" for number in (1, 2, 3)])


def test_one_that_is_away_keeps_it_on_the_primary_and_nothing_from_the_others(data: Path) -> None:
    code, asked = pushed(data, "2")
    assert code == 1
    assert asked == sorted(
        [f"{number} pg_wal/{READY[0]}" for number in (1, 2, 3)]
        + [f"{number} pg_wal/{READY[-1]}" for number in (1, 3)]
    )


def test_all_that_are_away_are_asked_for_the_same_segment_again(data: Path) -> None:
    code, asked = pushed(data, "123")
    assert (code, len(asked)) == (1, 3)


def test_what_patroni_hands_over_waits_for_no_queue(data: Path) -> None:
    wal = f"/data/pgdata/pg_wal/{READY[0]}"
    code, asked = pushed(data, "2", wal)
    assert code == 1
    assert asked == [f"{number} --no-archive-async {wal}" for number in (1, 2, 3)]


def test_what_patroni_hands_over_waits_while_another_host_archives(data: Path) -> None:
    """Patroni asks once, and then rewinds what is nowhere else."""
    (data / "locked-2").touch()
    wal = f"/data/pgdata/pg_wal/{READY[0]}"
    code, asked = pushed(data, "", wal)
    assert (code, len(asked)) == (0, 4)
    assert asked.count(f"2 --no-archive-async {wal}") == 2
