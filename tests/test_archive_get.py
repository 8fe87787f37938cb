"""PostgreSQL's restore_command: when it asks the repository, and when it says no by itself."""

import os
import subprocess
from pathlib import Path

import pytest

from operations import config_files

SEGMENT, NEXT, HISTORY = "00000002000000000000000A", "00000002000000000000000B", "00000003.history"
AWAY = 103  # as pgBackRest ends when it cannot reach the repository


class Archive:
    """The script beside a pgbackrest that notes what it is asked, and ends as it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.status = folder, folder / "log", folder / "status"
        text = config_files.render("pgha-archive-get.j2", stanza="pgha", socket_dir=folder)
        (folder / "get").write_text(text)
        fake = folder / "pgbackrest"
        fake.write_text(f'#!/bin/sh\necho "$*" >>{self.log}\nexit $(cat {self.status})\n')
        fake.chmod(0o755)
        self.answers(0)

    def answers(self, status: int) -> None:
        self.status.write_text(str(status))

    def get(self, name: str, path: str = "pg_wal/RECOVERYXLOG") -> int:
        search = f"{self.folder}:{os.environ['PATH']}"
        command = ["/bin/sh", str(self.folder / "get"), name, path]
        environment = {"PATH": search}
        return subprocess.run(command, cwd=self.folder, env=environment, timeout=30).returncode

    @property
    def asked(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split()[-2] for line in lines]

    def forget(self, what: str, seconds: int) -> None:
        """Let time pass for one of the script's notes."""
        note = self.folder / f"pgha-archive-{what}"
        then = note.stat().st_mtime - seconds
        os.utime(note, (then, then))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def test_the_first_question_is_for_the_primary(archive: Archive) -> None:
    assert [archive.get(SEGMENT), archive.get(NEXT)] == [1, 1]
    assert archive.asked == []


def test_the_second_question_is_for_the_repository(archive: Archive) -> None:
    assert [archive.get(SEGMENT), archive.get(SEGMENT)] == [1, 0]
    assert archive.log.read_text() == (f"--stanza=pgha archive-get {SEGMENT} pg_wal/RECOVERYXLOG\n")


def test_a_repository_that_gives_is_asked_each_time(archive: Archive) -> None:
    archive.get(SEGMENT)
    assert [archive.get(name) for name in (SEGMENT, HISTORY, NEXT)] == [0, 0, 0]
    assert archive.asked == [SEGMENT, HISTORY, NEXT]


def test_at_the_end_of_the_archive_the_primary_is_next(archive: Archive) -> None:
    archive.get(SEGMENT)
    archive.get(SEGMENT)
    archive.answers(1)
    assert archive.get(NEXT) == 1
    assert archive.get("00000002000000000000000C") == 1
    assert archive.asked == [SEGMENT, NEXT]


def test_a_repository_that_lacks_a_file_is_left_alone_for_five_seconds(archive: Archive) -> None:
    archive.answers(1)
    assert [archive.get(SEGMENT) for _ in range(4)] == [1, 1, 1, 1]
    assert archive.asked == [SEGMENT]
    archive.answers(0)
    archive.forget("lacks", 6)
    assert archive.get(SEGMENT) == 0


def test_a_history_that_the_primary_does_not_have_comes_from_the_repository(
    archive: Archive,
) -> None:
    assert [archive.get(HISTORY) for _ in range(2)] == [1, 0]


def test_a_history_that_is_there_is_not_asked_for(archive: Archive) -> None:
    (archive.folder / "pg_wal").mkdir()
    (archive.folder / "pg_wal" / HISTORY).touch()
    assert [archive.get(HISTORY) for _ in range(3)] == [1, 1, 1]
    assert archive.asked == []


def test_the_newest_of_several_histories_is_there_when_it_is_read(archive: Archive) -> None:
    """Without it PostgreSQL stays on the old timeline, and may replay it beyond its end."""
    fourth, fifth = (HISTORY.replace("3", digit) for digit in "45")
    assert [archive.get(name) for name in (HISTORY, HISTORY, fourth)] == [1, 0, 0]
    archive.answers(1)
    assert archive.get(fifth) == 1
    archive.answers(0)
    assert archive.get(fourth) == 0


def test_a_promotion_has_its_answer_already(archive: Archive) -> None:
    archive.answers(1)
    assert [archive.get(HISTORY) for _ in range(9)] == [1] * 9
    archive.forget(f"lacks-{HISTORY}", 50)
    assert archive.get(HISTORY) == 1
    assert archive.asked == [HISTORY], "once a minute"
    archive.answers(0)
    assert archive.get(SEGMENT) == 1
    assert archive.get(SEGMENT) == 0, "that one is missing says nothing of others"
    archive.forget("gives", 61)
    archive.forget(f"lacks-{HISTORY}", 61)
    assert archive.get(HISTORY) == 0


@pytest.mark.parametrize("status", [AWAY, 124, 137, 255])
def test_a_silent_repository_is_left_alone_for_half_a_minute(archive: Archive, status: int) -> None:
    archive.answers(status)
    archive.get(SEGMENT)
    assert [archive.get(SEGMENT) for _ in range(3)] == [1, 1, 1]
    assert archive.asked == [SEGMENT]
    archive.answers(0)
    archive.forget("silent", 31)
    assert archive.get(SEGMENT) == 0


def test_a_question_of_long_ago_does_not_count(archive: Archive) -> None:
    archive.get(SEGMENT)
    archive.forget("asked", 61)
    assert archive.get(SEGMENT) == 1
    assert archive.asked == []


@pytest.mark.parametrize("status", [0, 1, AWAY])
def test_pg_rewind_is_never_told_no_without_a_question(archive: Archive, status: int) -> None:
    """It ends at the first no, and its absolute path is how it is known."""
    archive.answers(status)
    told = [archive.get(SEGMENT, f"/data/pgdata/pg_wal/{SEGMENT}") for _ in range(3)]
    assert told == [min(status, 1)] * 3
    assert archive.asked == [SEGMENT] * 3
