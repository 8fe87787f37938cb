"""What makes a database as it was, beside the present one: run on a PostgreSQL of this machine.

pgBackRest is a stand-in here that copies files. Skipped where there is no PostgreSQL, or no user
postgres to run it as.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operations import config_files
from operations.restore_start import GOALS

BINARIES = sorted([*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")])
USERS = {entry.pw_name for entry in pwd.getpwall()}
pytestmark = pytest.mark.skipif(
    not BINARIES or os.getuid() != 0 or "postgres" not in USERS,
    reason="there is no PostgreSQL to run as postgres",
)
PGBACKREST = """#!/bin/sh
for word; do case $word in
    --pg1-path=*) path=${word#*=} ;; --set=*) set=${word#*=} ;; --*) ;; *) break ;;
esac; done
echo "$*" >>{home}/asked
while [ "${1#--}" != "$1" ]; do shift; done
case $1 in
    restore) rm -rf "$path"/* && cp -a {home}/backups/$set/. "$path"/ ;;
    archive-get)
        [ "$(cat {home}/away 2>/dev/null)" != "$2" ] || exit 103
        cp {home}/archive/$2 "$3" 2>/dev/null || exit 1 ;;
    archive-push)
        name={home}/archive/${2##*/}
        if [ -e $name ]; then cmp -s $name $2; else cp $2 $name.new && mv $name.new $name; fi ;;
esac
"""


class World:
    """A primary that archives, its backups, and the restore beside it."""

    def __init__(self, home: Path) -> None:
        self.home, self.data, self.work = home, home / "data", home / "data.restore"
        self.bin, self.moment, self.last = f"{home}/bin:{BINARIES[-1]}", "", ""
        for name in ("bin", "archive", "backups", "run", "run2"):
            (home / name).mkdir()
            (home / name).chmod(0o700)
        (home / "bin/pgbackrest").write_text(PGBACKREST.replace("{home}", str(home)))
        (home / "bin/pgbackrest").chmod(0o755)
        subprocess.run(["chown", "-R", "postgres", home], check=True)
        self.sh("initdb -D data -A trust -U postgres --no-sync -E UTF8 --locale C >/dev/null")
        options = {
            "archive_mode": "on", "fsync": "off", "listen_addresses": "", "port": 5999,
            "unix_socket_directories": f"{home}/run",
            "archive_command": f"pgbackrest --stanza=pgha --pg1-path={self.data} archive-push %p",
        }  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())

    def sh(self, line: str, check: bool = True) -> str:
        done = subprocess.run(
            ["/bin/bash", "-c", line], cwd=self.home, user="postgres", capture_output=True,
            env={"PATH": f"{self.bin}:/usr/bin:/bin"}, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout.strip() if check else f"{done.returncode} {done.stdout}{done.stderr}"

    def start(self, data: str = "data") -> None:
        self.sh(f"pg_ctl -D {data} -w -l {self.home}/log start >/dev/null")

    def stop(self, data: str = "data") -> None:
        self.sh(f"pg_ctl -D {data} -w -m fast stop >/dev/null")

    def sql(self, *queries: str) -> str:
        words = " ".join(f'-c "{query}"' for query in queries)
        return self.sh(f"psql -XAtq -h {self.home}/run -p 5999 -U postgres postgres {words}")

    def backup(self, label: str) -> None:
        self.sh(
            f"pg_basebackup -h {self.home}/run -p 5999 -U postgres -X none -c fast --no-sync"
            f" -D backups/{label} 2>/dev/null"
        )

    def script(self, step: str, **changes: Any) -> str:
        """Return the exit status of a step, and what it says."""
        values: dict[str, Any] = {
            "bin": self.bin, "work": self.work, "directory": self.work / "data", "stanza": "pgha",
            "port": 5999, "backups": ("one",), "rehearsed": True, "goal": "", "timeline": 1,
            "follow": 1, "highest": self.newest, "run": self.home / "run2", "repository": 2,
            "config": "",
        }  # fmt: skip
        text = config_files.render("pgha-restore.j2", **values | changes)
        text = text.replace("sleep 5", "sleep 0.1")
        (self.home / "script").write_text(text)
        return self.sh(f"sh {self.home}/script {step}", check=False)

    def beside(self) -> None:
        """Make room for another restore."""
        self.sh(
            "rm -rf data.restore && mkdir -p run2 data.restore && mkdir -m 700 data.restore/data"
        )

    @property
    def archived(self) -> set[str]:
        return {file.name for file in (self.home / "archive").iterdir()}

    @property
    def newest(self) -> int:
        return max(int(name[:8], 16) for name in self.archived)

    @property
    def mark(self) -> str:
        path = self.work / "mark"
        return path.read_text().strip() if path.exists() else ""

    @property
    def log(self) -> str:
        return (self.work / "log").read_text()

    def rows(self, data: str = "data.restore/data") -> str:
        """Return the rows of a database that does not run."""
        socket = f"{self.home}/run2"
        self.sh(f"pg_ctl -D {data} -w -l {self.home}/log start -o '-k {socket}' >/dev/null")
        found = self.sh(
            f"psql -XAtq -h {socket} -p 5999 -U postgres postgres -c"
            " \"SELECT string_agg(n::text, ',' ORDER BY n) FROM t\""
        )
        self.stop(data)
        return found


@pytest.fixture(scope="module")
def primary() -> Iterator[World]:
    """Row 1, backup one, row 2, a moment and a restore point, backup two, row 3."""
    home = Path(tempfile.mkdtemp(prefix="pgha-"))
    made = World(home)
    made.start()
    made.sql("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    made.backup("one")
    stale = home / "backups/one/postgresql.auto.conf"
    stale.write_text("work_mem = '5MB'\nrecovery_target_time = '2000-01-01'\n")
    (home / "backups/one/patroni.dynamic.json").write_text("{}")
    with (home / "backups/one/postgresql.conf").open("a") as file:  # as Patroni writes it
        file.write("recovery_target = ''\nrecovery_target_lsn = ''\nrecovery_target_xid = ''\n")
    made.sql("INSERT INTO t VALUES (2)", "SELECT pg_create_restore_point('before three')")
    made.moment = made.sql("SELECT clock_timestamp()")
    made.backup("two")
    made.last = made.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    made.sql("INSERT INTO t VALUES (3)", "SELECT pg_switch_wal()")
    made.sh("for i in $(seq 100); do ls data/pg_wal/archive_status/*.ready 2>/dev/null"
            " || exit 0; sleep 0.1; done; exit 1")  # fmt: skip
    yield made
    for data in ("data", "data.restore/data"):
        made.sh(f"pg_ctl -D {data} -m immediate stop", check=False)
    shutil.rmtree(home)


@pytest.fixture
def world(primary: World) -> World:
    """The same, and nothing beside the data yet."""
    primary.beside()
    return primary


def test_a_time_is_reached_while_the_cluster_runs_and_promoted_later(world: World) -> None:
    goal, timeline = GOALS["time"].format(world.moment), world.newest + 1
    before = world.archived
    assert world.script("reached", goal=goal).startswith("0 ")
    assert world.mark == "reached with one"
    assert world.archived == before, "nothing of it is archived yet"
    assert not (world.work / "data/patroni.dynamic.json").exists()
    assert (world.work / "data/postgresql.auto.conf").read_text() == "work_mem = '5MB'\n"
    assert world.script("promoted", goal=goal).startswith("0 ")
    assert world.mark == "promoted"
    assert f"{timeline:08X}.history" in world.archived
    assert f"selected new timeline ID: {timeline}" in world.log
    assert "recovery stopping before commit" in world.log
    assert world.rows() == "1,2"
    for line in (world.home / "asked").read_text().splitlines():
        # All is from the repository that was named; what is archived goes to every one.
        if str(world.work / "data") in line:
            assert ("--repo=2 " in line) == ("archive-push" not in line), line


def test_an_older_backup_is_tried_where_a_newer_lies_behind_the_target(world: World) -> None:
    goal = GOALS["name"].format("before three")
    assert world.script("reached", goal=goal, backups=("two", "one")).startswith("0 ")
    assert "two does not lead to the target" in world.log
    assert world.mark == "reached with one"


def test_an_older_backup_does_not_replay_what_a_newer_one_has(world: World) -> None:
    behind = f"{int(world.last[8:], 16) - 1:016X}"
    goal = GOALS["name"].format("never")
    said = world.script("reached", goal=goal, backups=("two", f"one={behind}"))
    assert "the target is not in the archive" in said
    assert "one does not lead to the target" in world.log
    assert world.log.count(f'restored log file "{world.last}"') == 1
    goal = GOALS["name"].format("before three")
    assert world.script("reached", goal=goal, backups=("two", f"one={behind}")).startswith("0 ")


def test_what_is_not_in_the_archive_is_refused_and_nothing_promoted(world: World) -> None:
    goal, before = GOALS["name"].format("never"), world.archived
    said = world.script("reached", goal=goal, backups=("two", "one"))
    assert said.startswith("3 ")
    assert "the target is not in the archive" in said
    assert world.script("promoted", goal=goal).startswith("1 ")
    assert world.archived == before


def test_the_end_of_a_backup_follows_its_own_timeline(world: World) -> None:
    way = {"goal": GOALS["backup"], "backups": ("two",), "follow": "current"}
    assert world.script("reached", **way).startswith("0 ")
    assert world.script("promoted", **way).startswith("0 ")
    assert world.rows() == "1,2"


def test_a_number_without_history_in_the_archive_is_not_taken_twice(world: World) -> None:
    goal, lost = GOALS["time"].format(world.moment), world.newest + 1
    assert world.script("reached", goal=goal).startswith("0 ")
    assert world.script("promoted", goal=goal, highest=lost).startswith("0 ")
    assert f"selected new timeline ID: {lost + 1}" in world.log


def test_latest_is_recovered_when_the_cluster_stands(world: World) -> None:
    way = {"rehearsed": False, "backups": ("two",)}
    assert world.script("reached", **way).startswith("0 ")
    assert "redo" not in world.log
    assert world.script("promoted", **way).startswith("0 ")
    assert world.rows() == "1,2,3"


def test_an_archive_that_does_not_answer_is_not_the_end_of_it(world: World) -> None:
    way = {"rehearsed": False}
    assert world.script("reached", **way).startswith("0 ")
    away, before = world.home / "away", world.archived
    away.write_text(world.last)
    try:
        assert world.script("promoted", **way).startswith("1 ")
    finally:
        away.unlink()
    assert world.archived == before
    assert world.mark == "reached with one"
    assert world.script("promoted", **way).startswith("0 ")
    assert world.rows() == "1,2,3"


def test_killed_half_way_the_same_again_ends_well(world: World) -> None:
    goal = GOALS["time"].format(world.moment)
    world.sh("cp -a backups/two/base data.restore/data/")  # a restore that got so far
    assert world.script("reached", goal=goal).startswith("0 ")
    (world.work / "mark").write_text("restored one\n")  # recovered, but not noted
    assert world.script("reached", goal=goal).startswith("0 ")
    assert world.script("promoted", goal=goal).startswith("0 ")
    timeline = world.newest
    (world.work / "mark").write_text("reached with one\n")  # promoted, but not noted
    assert world.script("promoted", goal=goal).startswith("0 ")
    assert world.newest == timeline, "it is promoted once"
    assert world.rows() == "1,2"


def test_old_data_is_promoted_onto_a_number_that_nobody_had(world: World) -> None:
    """The last test: the primary itself is what is put back."""
    world.sql("INSERT INTO t VALUES (4)")
    world.stop()
    timeline = world.newest + 1
    way = {"backups": (), "directory": world.data, "follow": "current", "rehearsed": False}
    assert world.script("promoted", **way).startswith("0 ")
    assert world.newest == timeline
    assert world.rows("data") == "1,2,3,4"


def test_a_timeline_without_history_in_the_repository_is_followed_by_data_that_is_on_it(
    world: World,
) -> None:
    assert world.script("reached", rehearsed=False, backups=("two",)).startswith("0 ")
    assert world.script("promoted").startswith("0 ")
    own, young = world.newest, world.home / "backups/young"
    name = f"{own:08X}.history"
    world.sh(f"cp -a data.restore/data {young} && rm {young}/pg_wal/{name}")
    world.sh(f"mv archive/{name} kept")
    try:
        world.beside()
        given: dict[str, Any] = {"backups": ("young",), "timeline": own, "follow": own}
        assert world.script("reached", rehearsed=False, **given).startswith("0 ")
        assert world.script("promoted", highest=own, **given).startswith("0 "), world.log
        assert f"selected new timeline ID: {own + 1}" in world.log
    finally:
        world.sh(f"mv kept archive/{name}")
