"""How a member without data is filled: from the repository, unless that has another database."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from operations import config_files

RUNNING = "7712443352580702735"
PATRONI = (
    "--scope=pgha",
    "--role=replica",
    "--datadir=/data/pgdata",
    "--connstring=dbname=postgres user=replicator host=10.0.0.11",
    "--keep_data=True",
)


class Member:
    """The script beside a psql and a pgbackrest that note what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.says("psql", f"{RUNNING}|1|0/5000028|")
        self.holds(RUNNING)
        text = config_files.render("pgha-replica-fill.j2", psql=folder / "psql", stanza="pgha")
        (folder / "fill").write_text(text)

    def says(self, name: str, answer: str, status: int = 0) -> None:
        program = self.folder / name
        program.write_text(
            f"#!/bin/sh\necho \"{name} $*\" >>{self.log}\necho '{answer}'\nexit {status}\n"
        )
        program.chmod(0o755)

    def holds(self, *systems: str) -> None:
        """Let the repository be of these databases, one after the other."""
        databases = [{"id": n, "system-id": int(one)} for n, one in enumerate(systems, 1)]
        told = [{"backup": [], "db": databases, "name": "pgha"}]
        self.says("pgbackrest", json.dumps(told, separators=(",", ":")))

    def fill(self) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", self.folder / "fill", *PATRONI],
            env={"PATH": path}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    @property
    def is_filled(self) -> bool:
        return "pgbackrest --stanza=pgha --delta --type=standby restore" in self.log.read_text()


@pytest.fixture
def member(tmp_path: Path) -> Member:
    return Member(tmp_path)


def test_it_is_filled_from_the_repository(member: Member) -> None:
    assert member.fill().returncode == 0
    assert member.is_filled
    asked = "psql -XAtq -d dbname=postgres user=replicator host=10.0.0.11 replication=true"
    assert member.log.read_text().startswith(f"{asked} -c IDENTIFY_SYSTEM\n")


def test_the_newest_database_of_the_repository_counts(member: Member) -> None:
    member.holds("76", RUNNING)
    assert member.fill().returncode == 0
    member.log.unlink()
    member.holds(RUNNING, "76")
    assert member.fill().returncode != 0
    assert not member.is_filled


def test_another_database_is_left_where_it_is(member: Member) -> None:
    member.holds("76")
    done = member.fill()
    assert done.returncode != 0
    assert done.stderr == f"the repository has no backup of database {RUNNING}, but of 76\n"
    assert not member.is_filled


@pytest.mark.parametrize("silent", ["psql", "pgbackrest"])
def test_who_cannot_tell_is_not_asked_for_data(member: Member, silent: str) -> None:
    member.says(silent, "", status=1)
    assert member.fill().returncode != 0
    assert not member.is_filled
