"""WAL goes into several repositories, and one that is away keeps it from none of the others."""

import subprocess
from pathlib import Path

import pytest

from operations import config_files

# It says what it was called for, and fails where the file `refused` has a pattern for that; at the
# first call for one that has a file `locked-<number>` it finds another host at work there.
PGBACKREST = """#!/bin/sh
number=${2%.conf} number=${number##*-}
call=$(echo "$number $*" | sed 's/--stanza=pgha --config=[^ ]* //; s/archive-push //')
echo "$call" >>asked
if rm "locked-$number" 2>/dev/null; then
    echo "repo1: [LockAcquireError] unable to acquire lock on file '/tmp/pgha-archive-1.lock'"
    exit 103
fi
! echo "$call" | grep -qf refused
"""
RECEIVED = [f"0000000100000000000000{number:02X}" for number in range(0xE7, 0xF1)]
READY = ["000000010000000000000004", "000000010000000000000005", "00000001000000000000000A"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with three segments that wait, and ten that do not."""
    (tmp_path / "pgbackrest").write_text(PGBACKREST)
    (tmp_path / "pgbackrest").chmod(0o755)
    status = tmp_path / "pg_wal/archive_status"
    status.mkdir(parents=True)
    for name in READY:
        (status / f"{name}.ready").touch()
    for name in (*RECEIVED, "00000001.history", f"{RECEIVED[-1]}.00000028.backup"):
        (status / f"{name}.done").touch()
    return tmp_path


def pushed(data: Path, refused: str, wal: str = f"pg_wal/{READY[0]}") -> tuple[int, list[str]]:
    """Return the exit status, and what each repository was given, in its order."""
    (data / "refused").write_text(refused or "none")
    configs = [f"/etc/push-{number}.conf" for number in (1, 2, 3)]
    script = config_files.render("pgha-pgbackrest-push.j2", stanza="pgha", configs=configs)
    done = subprocess.run(
        ["/bin/sh", "-c", script, "push", wal], cwd=data, timeout=30,
        env={"PATH": f"{data}:/usr/bin:/bin"},
    )  # fmt: skip
    return done.returncode, sorted((data / "asked").read_text().splitlines(), key=_repository)


def _repository(line: str) -> str:
    return line[0]


def test_every_repository_gets_it(data: Path) -> None:
    assert pushed(data, "") == (0, [f"{number} pg_wal/{READY[0]}" for number in (1, 2, 3)])


def test_one_that_is_away_keeps_it_on_the_primary_and_nothing_from_the_others(data: Path) -> None:
    code, asked = pushed(data, "^2")
    assert code == 1
    first, newest = (f"pg_wal/{READY[which]}" for which in (0, -1))
    assert asked == [f"1 {first}", f"1 {newest}", f"2 {first}", f"3 {first}", f"3 {newest}"]


def test_all_that_are_away_are_asked_for_the_same_segment_again(data: Path) -> None:
    code, asked = pushed(data, "^[123]")
    assert (code, len(asked)) == (1, 3)


def test_what_patroni_hands_over_waits_for_no_queue(data: Path) -> None:
    wal = f"/data/pgdata/pg_wal/{READY[0]}"
    code, asked = pushed(data, "^2", wal)
    assert code == 1
    assert asked == [f"{number} --no-archive-async {wal}" for number in (1, 2, 3)]


def test_what_patroni_hands_over_waits_while_another_host_archives(data: Path) -> None:
    """Patroni asks once, and then rewinds what is nowhere else."""
    (data / "locked-2").touch()
    wal = f"/data/pgdata/pg_wal/{READY[0]}"
    code, asked = pushed(data, "", wal)
    assert (code, len(asked)) == (0, 4)
    assert asked.count(f"2 --no-archive-async {wal}") == 2


def test_a_new_primary_gives_what_it_has_received(data: Path) -> None:
    """The one before it may be lost with what it had not archived."""
    code, asked = pushed(data, "^2", "pg_wal/00000002.history")
    by_itself = ["00000002.history", *RECEIVED[-8:]]
    given = [f"--no-archive-async pg_wal/{name}" for name in by_itself]
    newest = f"pg_wal/{READY[-1]}"
    assert code == 1
    assert asked == [
        *(f"1 {one}" for one in (*given, newest)),
        f"2 {given[0]}",
        *(f"3 {one}" for one in (*given, newest)),
    ]


def test_what_the_archive_has_otherwise_keeps_nothing_back(data: Path) -> None:
    code, asked = pushed(data, RECEIVED[-1], "pg_wal/00000002.history")
    assert (code, len(asked)) == (0, 3 * 9)
