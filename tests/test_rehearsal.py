"""The rehearsal of a restore: what makes it pass, what makes it fail, and what it leaves behind.

The script runs as it is, beside programs that act as they do on the repository host.
"""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyinfra.api import OperationError

from operations import backup_proofs, config_files
from tests.clusters import described

LABEL, STOPPED = "20250105-010000F_20250106-010000D", 1736125210
SEGMENTS = {f"0000000100000000000000{number:02X}": f"WAL {number}" for number in (9, 10, 11)}
INFO = (
    '[{"archive":[{"database":{"id":1,"repo-key":1},"id":"17-1","max":"x","min":"x"},'
    '{"database":{"id":2,"repo-key":1},"id":"18-2","max":"x","min":"x"}],"backup":[%s],'
    '"cipher":"aes-256-cbc","name":"pgha","status":{"code":0,"message":"ok"}}]'
)
BACKUP = (
    '{"archive":{"start":"x","stop":"x"},"database":{"id":2,"repo-key":1},"error":false,'
    '"info":{"delta":5,"repository":{"delta":1,"size":3},"size":%d},"label":"%s",'
    '"lsn":{"start":"0/1","stop":"0/2"},"prior":null,"reference":null,'
    '"timestamp":{"start":1,"stop":%d},"type":"full"}'
)
PGBACKREST = r"""#!/bin/sh
case "$*" in
    *info) cat info ;;
    *repo-ls*18-2) cd wal && for file in *; do echo "${file%%????????-*}/$file.zst"; done ;;
    *restore) [ ! -e refuse ] && mkdir -p work/data/base && echo "$*" >restored ;;
    *archive-get*)
        shift $(($# - 2))
        [ ! -e away ] || exit 103
        file=$(ls wal/"$1"-* 2>/dev/null) || exit 1
        cp "$file" "$2"
        ;;
esac
"""
# It recovers all that restore_command gives it, in order, as PostgreSQL does.
PG_CTL = r"""#!/bin/sh
case "$1" in
    start)
        for number in 09 0A 0B 0C; do
            ./script wal 0000000100000000000000$number got
            status=$?
            [ $status -le 125 ] || exit 0
            [ $status = 0 ] || break
            echo "00000000000000$number" >reached
        done
        [ -e slow ] && echo starting >work/data/postmaster.pid && exit
        echo 'ready   ' >work/data/postmaster.pid
        ;;
    status) [ -e work/data/postmaster.pid ] ;;
    stop) rm -f work/data/postmaster.pid ;;
esac
"""
PG_DUMP = r"""#!/bin/sh
[ -e work/data/postmaster.pid ] || exit 1
echo "$*" >dumped
while [ "$1" != -f ]; do shift; done
echo a dump >"$2"
"""
PSQL = r"""#!/bin/sh
case "$*" in
    *'-d app -c SELECT'*) echo 1000 ;;
    *'-d app'*) cat >>moved; ! grep -q nothing moved ;;
    *pg_last_wal_replay_lsn*) cat reached ;;
    *pg_last_xact_replay_timestamp*) echo 1736125300 ;;
    *) echo 1000 ;;
esac
"""


class Rehearsal:
    """The script in a folder with a repository, and the programs that it calls."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()
        (folder / "wal").mkdir()
        for name, content in SEGMENTS.items():
            self.segment(name).write_text(content)
        self.backups((31457280, LABEL))
        for name, text in {
            "pgbackrest": PGBACKREST,
            "pg_ctl": PG_CTL,
            "psql": PSQL,
            "pg_dump": PG_DUMP,
            "pg_amcheck": "#!/bin/sh\n[ ! -e damaged ]\n",
            "pg_controldata": "#!/bin/sh\necho 'max_prepared_xacts setting:           7'\n",
            "sleep": "#!/bin/sh\n",
            "script": self._script(**settings),
        }.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def _script(self, query: str = "''", expected: str = "''") -> str:
        cluster = described(pgbackrest_rehearsal_path="/data/pgha-rehearsal")
        text = config_files.render(
            "pgha-rehearsal.j2", cluster=cluster, bin=self.folder, config="/etc/x.conf",
            wal_mib=1024,
            query=query, expected=expected,
        )  # fmt: skip
        return text.replace("/data/pgha-rehearsal", str(self.work))

    def segment(self, name: str) -> Path:
        """Return the file of a segment, named as pgBackRest names what it archives."""
        total = hashlib.sha1(SEGMENTS[name].encode(), usedforsecurity=False).hexdigest()
        return self.folder / "wal" / f"{name}-{total}"

    def backups(self, *sizes_and_labels: tuple[int, str]) -> None:
        found = [BACKUP % (size, label, STOPPED) for size, label in sizes_and_labels]
        (self.folder / "info").write_text(INFO % ",".join(found))

    def put(self, name: str) -> None:
        (self.folder / name).touch()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./script", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=30
        )

    def run(self) -> subprocess.CompletedProcess[str]:
        return self.call("run", "result")

    def fails(self, *words: str) -> None:
        done = self.run()
        assert done.returncode == 1
        assert not (self.folder / "result").exists()
        for word in words:
            assert word in done.stderr, done.stderr


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)


def test_a_good_backup_passes(rehearsal: Rehearsal) -> None:
    rehearsal.backups((99 << 50, "20250105-010000F"), (31457280, LABEL))
    done = rehearsal.run()
    assert done.returncode == 0, done.stderr
    assert (rehearsal.folder / "result").read_text() == f"{LABEL} 1736125300\n"
    restored = (rehearsal.folder / "restored").read_text()
    assert f"--config=/etc/x.conf --stanza=pgha --set={LABEL}" in restored
    assert f"--tablespace-map-all={rehearsal.work}/tablespaces" in restored


def test_the_copy_is_shut_off(rehearsal: Rehearsal) -> None:
    rehearsal.run()
    lines = (rehearsal.work / "postgresql.conf").read_text().splitlines()
    assert "listen_addresses = ''" in lines
    assert "archive_mode = off" in lines
    assert "max_logical_replication_workers = 0" in lines
    assert "max_prepared_transactions = 7" in lines
    assert f"unix_socket_directories = '{rehearsal.work}'" in lines
    # What somebody set with ALTER SYSTEM on the primary would win over that.
    assert (rehearsal.work / "data/postgresql.auto.conf").read_text() == ""
    assert not (rehearsal.work / "data/postmaster.pid").exists(), "it still runs"


def test_damaged_wal_fails_also_at_the_very_end(rehearsal: Rehearsal) -> None:
    last = rehearsal.segment("00000001000000000000000B")
    last.write_text("WAL 1l")
    rehearsal.fails("00000001000000000000000B does not come out", "(damaged)", "does not recover")


def test_a_repository_that_breaks_off_fails(rehearsal: Rehearsal) -> None:
    rehearsal.put("away")
    rehearsal.fails("000000010000000000000009 does not come out", "(103)", "does not recover")


def test_a_gap_fails(rehearsal: Rehearsal) -> None:
    rehearsal.segment("00000001000000000000000A").unlink()
    rehearsal.fails("recovers to segment 0000000000000009 only", "goes on to 000000000000000B")


def test_what_is_archived_meanwhile_is_not_asked_for(rehearsal: Rehearsal) -> None:
    rehearsal.run()
    name = "00000001000000000000000C"
    (rehearsal.folder / "wal" / f"{name}-{'0' * 40}").touch()
    assert rehearsal.call("wal", name, "got").returncode == 1


def test_history_that_is_not_there_is_no_damage(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("wal", "00000002.history", "got").returncode == 1
    rehearsal.put("away")
    assert rehearsal.call("wal", "00000002.history", "got").returncode == 200


def test_a_restore_that_fails(rehearsal: Rehearsal) -> None:
    rehearsal.put("refuse")
    rehearsal.fails()


def test_damage_that_pg_amcheck_finds(rehearsal: Rehearsal) -> None:
    rehearsal.put("damaged")
    rehearsal.fails(f"pg_amcheck finds damage in {LABEL}")


def test_no_room_on_the_disk(rehearsal: Rehearsal) -> None:
    rehearsal.backups((1 << 60, LABEL))
    rehearsal.fails(f"{LABEL} needs 1209462792601 MiB in {rehearsal.work}, and ")
    assert not (rehearsal.folder / "restored").exists()


def test_the_last_room_is_left_to_the_repository(rehearsal: Rehearsal) -> None:
    free = rehearsal.folder / "df"
    free.write_text(
        "#!/bin/sh\n[ -e measured ] && left=1000000 || left=9000000\n: >measured\n"
        'printf "head\\n/dev/x 1 1 %s 1% /\\n" $left\n'
    )
    free.chmod(0o755)
    rehearsal.put("slow")
    rehearsal.fails(f"{LABEL} grows, and only 976 MiB are left in {rehearsal.work}")


def test_no_backup(rehearsal: Rehearsal) -> None:
    rehearsal.backups()
    rehearsal.fails("the repository holds no backup")


def test_a_query_and_its_answer(tmp_path: Path) -> None:
    for name, expected in (("right", "1000"), ("wrong", "1001")):
        (tmp_path / name).mkdir()
        rehearsal = Rehearsal(tmp_path / name, query="'SELECT count(*) FROM t'", expected=expected)
        if name == "right":
            assert rehearsal.run().returncode == 0
        else:
            rehearsal.fails("the query answers '1000', not '1001'")


# --- tables of the past -----------------------------------------------------------------------

TARGET = "recovery_target_timeline = '1'\nrecovery_target_name='before'"


def dump(rehearsal: Rehearsal, tables: str, *labels: str) -> subprocess.CompletedProcess[str]:
    file = str(rehearsal.work / "dumps/app.dump")
    more = ("app", "restored_1", tables, TARGET, "31457280")
    return rehearsal.call("dump", file, *more, *(labels or (LABEL,)))


def test_tables_are_dumped_from_a_copy_at_the_target(rehearsal: Rehearsal) -> None:
    done = dump(rehearsal, "public.orders items")
    assert done.returncode == 0, done.stderr
    assert (rehearsal.work / "dumps/app.dump").read_text() == "a dump\n"
    assert f"--set={LABEL}" in (rehearsal.folder / "restored").read_text()
    told = (rehearsal.folder / "dumped").read_text()
    assert "-n restored_1 --section=pre-data --section=data --no-owner" in told
    moved = (rehearsal.folder / "moved").read_text()
    assert "'public.orders'::regclass UNION" in moved
    assert "'items'::regclass UNION" in moved
    assert [path.name for path in rehearsal.work.iterdir()] == ["dumps"], "the copy is left"


def test_a_whole_database_is_dumped_as_it_was(rehearsal: Rehearsal) -> None:
    assert dump(rehearsal, "").returncode == 0
    told = (rehearsal.folder / "dumped").read_text().split()
    assert told[:5] == ["-h", str(rehearsal.work), "-U", "postgres", "-Fc"]
    assert "-n" not in told
    assert not (rehearsal.folder / "moved").exists()


def test_the_copy_ends_at_the_target(rehearsal: Rehearsal) -> None:
    (rehearsal.folder / "pg_dump").write_text(
        f"#!/bin/sh\ncp {rehearsal.work}/postgresql.conf .\nexit 1\n"
    )
    assert dump(rehearsal, "").returncode == 1
    lines = (rehearsal.folder / "postgresql.conf").read_text().splitlines()
    assert [line for line in lines if "target" in line] == TARGET.splitlines()
    assert not (rehearsal.work / "dumps/app.dump").exists()


def test_an_older_backup_is_tried_where_a_newer_one_does_not_lead_to_the_target(
    rehearsal: Rehearsal,
) -> None:
    (rehearsal.folder / "pg_ctl").write_text(
        PG_CTL.replace("start)", f"start) grep -q {LABEL} restored && exit 1")
    )
    assert dump(rehearsal, "items", LABEL, "20250101-010000F").returncode == 0
    assert "--set=20250101-010000F" in (rehearsal.folder / "restored").read_text()
    done = dump(rehearsal, "items", LABEL)
    assert "the restore of tables failed: no backup leads to the target" in done.stderr


def test_a_table_that_was_not_there_fails_and_leaves_no_dump(rehearsal: Rehearsal) -> None:
    done = dump(rehearsal, "orders nothing")
    assert done.returncode == 1
    assert "nothing is not there to be dumped" in done.stderr
    assert list((rehearsal.work / "dumps").iterdir()) == []


def test_two_copies_do_not_remove_each_other(rehearsal: Rehearsal) -> None:
    with _held(rehearsal.work):
        rehearsal.fails("another one is under way")
        assert "another one is under way" in dump(rehearsal, "items").stderr
        (rehearsal.work / "data").mkdir()
        assert rehearsal.call("clean").returncode == 0
        assert (rehearsal.work / "data").exists()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder as a script does that works in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_what_a_killed_one_left_is_removed(rehearsal: Rehearsal) -> None:
    for name in ("data", "tablespaces"):
        (rehearsal.work / name / "base").mkdir(parents=True)
    (rehearsal.work / ".s.PGSQL.5432.lock").touch()
    assert rehearsal.run().returncode == 0
    assert rehearsal.call("clean").returncode == 0
    assert list(rehearsal.work.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ("2GB", 2048),
        ("512MB", 512),
        ("1536", 1536),
        ("1TB", 1 << 20),
        ("100kB", 1),
        ("'1 GB'", 1024),
    ],
)
def test_room_for_wal_follows_max_wal_size(size: str, wanted: int) -> None:
    assert backup_proofs.mebibytes(size) == wanted


def test_max_wal_size_that_nobody_understands() -> None:
    with pytest.raises(OperationError, match="such as 2GB"):
        backup_proofs.mebibytes("plenty")


# --- what came of it --------------------------------------------------------------------------


def proof(
    folder: Path, verb: str, job: str, said: str = "", status: int = 0, result: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run pgha-proof beside a pgbackrest that says something, and ends in some way."""
    run = folder / f"run-{job}"
    run.mkdir(exist_ok=True)
    cluster = described(pgbackrest_metrics_path="/var/metrics")
    text = config_files.render(
        "pgha-proof.j2", cluster=cluster, rehearsal="echo rehearsal", numbers=[1, 2]
    )
    text = text.replace("/run/pgha-proof-", f"{folder}/run-").replace("/var/metrics", str(folder))
    (folder / "pgbackrest").write_text(
        f'#!/bin/sh\necho "$*" >>log\necho "{said}"\nexit {status}\n'
    )
    (folder / "pgbackrest").chmod(0o755)
    return subprocess.run(
        ["/bin/sh", "-c", text, "proof", verb, job], cwd=folder, capture_output=True, text=True,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "SERVICE_RESULT": result}, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [("", 0, 0), ("status: ok", 0, 0), ("stanza: pgha\nstatus: error", 0, 1),
     ("P00  ERROR: [028]: checksum", 0, 1), ("", 82, 1)],
)  # fmt: skip
def test_verify_fails_by_what_it_says(tmp_path: Path, said: str, status: int, code: int) -> None:
    assert proof(tmp_path, "run", "verify", said, status).returncode == code


def test_a_rehearsal_is_told(tmp_path: Path) -> None:
    done = proof(tmp_path, "run", "rehearsal")
    assert done.stdout == f"rehearsal run {tmp_path}/run-rehearsal/recovered\n"
    (tmp_path / "run-rehearsal/started").write_text("0\n")
    (tmp_path / "run-rehearsal/recovered").write_text(f"{LABEL} 1736125300\n")
    done = proof(tmp_path, "told", "rehearsal", result="success")
    assert done.stdout == "rehearsal clean\n"
    text = (tmp_path / "pgha_proof_rehearsal.prom").read_text()
    assert 'pgha_proof_success{stanza="pgha",proof="rehearsal"} 1\n' in text
    assert f'proof="rehearsal",backup="{LABEL}"}} 1736125300\n' in text
    assert text.count("# TYPE ") == 4
    assert not list(tmp_path.glob("*.new"))


def test_one_that_was_killed_before_it_began_is_told(tmp_path: Path) -> None:
    done = proof(tmp_path, "told", "check", result="timeout")
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "pgha_proof_check.prom").read_text()
    assert 'pgha_proof_success{stanza="pgha",proof="check"} 0\n' in text
    assert 'pgha_proof_duration_seconds{stanza="pgha",proof="check"} 0\n' in text


def test_a_copy_that_fills_the_disk_is_removed_though_nothing_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "pgha_proof_rehearsal.prom.new").symlink_to("/dev/full")
    done = proof(tmp_path, "told", "rehearsal", result="exit-code")
    assert done.returncode != 0
    assert done.stdout == "rehearsal clean\n"
