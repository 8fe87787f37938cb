"""A backup that restores passes its rehearsal; one that does not fails it, loudly."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import arrived_segment, info
from tests.e2e.test_verify import broken, verify

UNIT = "pgha-proof@rehearsal.service"
REPOSITORY, WORK = "/data/pgbackrest", "/data/pgha-rehearsal"
METRICS = "/var/lib/pgha/metrics/pgha_proof_rehearsal.prom"
# Larger than what pgBackRest puts into a bundle, and hard to compress.
TABLE = """
DROP TABLE IF EXISTS rehearsed;
CREATE TABLE rehearsed AS SELECT md5(random()::text) AS x FROM generate_series(1, 200000);
CREATE INDEX ON rehearsed (x);
"""


@pytest.fixture
def backup(cluster: None) -> str:
    """The label of a full backup of some size, with WAL that was written after it."""
    bed.sql(bed.primary(), TABLE)
    bed.on("pgbackrest", "systemctl start pgbackrest-backup@full.service")
    arrived_segment()
    return str(info()["backup"][-1]["label"])


def rehearse() -> bool:
    """Say whether a rehearsal passes; whatever it does, it leaves nothing in its directory."""
    said = bed.on("pgbackrest", f"systemctl start {UNIT} >&- 2>&- && echo passed", check=False)
    assert bed.on("pgbackrest", f"ls -A {WORK}") == ""
    return said == "passed"


def words() -> str:
    """Return what the last rehearsals said."""
    return bed.on("pgbackrest", f"journalctl -q -o cat -n 60 -u {UNIT}")


def files(pattern: str) -> list[str]:
    """Return files of the repository, the largest first."""
    path = shlex.quote(f"{REPOSITORY}/{pattern}")
    found = bed.on("pgbackrest", f"find {REPOSITORY} -type f -path {path} -printf '%s %p\\n'")
    return [line.partition(" ")[2] for line in sorted(found.splitlines(), key=_size)]


def _size(line: str) -> int:
    return -int(line.partition(" ")[0])


@contextmanager
def damaged(path: str) -> Iterator[None]:
    """Overwrite eight bytes in the middle of a file, and give them back at the end."""
    quoted = shlex.quote(path)
    middle = int(bed.on("pgbackrest", f"stat -c %s {quoted}")) // 2
    keep = f"cp -p {quoted} /root/kept"
    flip = f"printf 'damaged!' | dd of={quoted} bs=1 seek={middle} conv=notrunc status=none"
    mend = f"cp -p /root/kept {quoted} && rm /root/kept"
    with broken("pgbackrest", f"{keep} && {flip}", mend):
        yield


def test_the_first_deploy_has_its_backup_verified_and_rehearsed(cluster: None) -> None:
    """Nobody asked for it: this comes before any test here that does."""
    bed.wait_until(
        "the first proofs",
        lambda: {verify()[1][name] for name in ("verified", "rehearsal")} == {"ok"},
        deadlines.SERVICE_BACK,
    )


def test_rehearsal_of_a_good_backup_passes_and_is_told(backup: str) -> None:
    run = bed.pyinfra("day2/rehearse.py", "-y", "--limit", "pgbackrest")
    assert run.code == 0, run.stderr
    assert f"{backup} restored in" in run.stdout
    text = bed.on("pgbackrest", f"runuser -u nobody -- cat {METRICS}")
    assert 'pgha_proof_success{stanza="pgha",proof="rehearsal"} 1' in text
    assert f'backup="{backup}"' in text
    assert verify()[1]["rehearsal"] == "ok"


@pytest.mark.long
def test_rehearsal_never_disturbs_the_cluster(backup: str) -> None:
    primary, wal = bed.primary(), info()["archive"][-1]["max"]
    archiver = "SELECT failed_count FROM pg_stat_archiver"
    before = bed.sql(primary, archiver)
    bed.on("pgbackrest", f"systemctl start --no-block {UNIT}")
    seen: set[str] = set()

    def ended() -> bool:
        seen.update(bed.on("pgbackrest", "ss -Hltn").splitlines())
        return done()

    bed.wait_until("the end of the rehearsal", ended, deadlines.DEPLOY)
    assert not [line for line in seen if ":5432" in line]
    assert bed.primary() == primary
    assert bed.sql(primary, archiver) == before
    # A copy that archived would have brought a timeline of its own.
    assert info()["archive"][-1]["max"][:8] == wal[:8]


def done() -> bool:
    state = bed.on("pgbackrest", f"systemctl show -p ActiveState --value {UNIT}")
    return state in ("inactive", "failed")


PLACES = {
    "backup_file": "backup/pgha/{label}/pg_data/base/*",
    "bundle": "backup/pgha/{label}/bundle/*",
    "wal_segment": "archive/pgha/*/{segment}-*",
}
LAST = "wal_segment"  # what pgBackRest's own restore does not check


@pytest.mark.parametrize(
    "place",
    [*(pytest.param(p, marks=pytest.mark.long) for p in PLACES if p != LAST), LAST],
)
def test_flipped_bytes_fail_the_rehearsal_loudly(backup: str, place: str) -> None:
    found = files(PLACES[place].format(label=backup, segment=arrived_segment()))
    assert found, "the repository looks other than this test thinks"
    with damaged(found[0]):
        assert not rehearse()
        failed = bed.on("pgbackrest", "systemctl --failed --plain --no-legend")
        assert UNIT in failed
        assert " 0\n" in bed.on("pgbackrest", f"grep ^pgha_proof_success {METRICS}") + "\n"
        code, proofs = verify()
        assert code != 0
        assert proofs["rehearsal"] == proofs["backup"] == "failed"
    assert rehearse(), words()
    assert UNIT not in bed.on("pgbackrest", "systemctl --failed --plain --no-legend")


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES)
def test_flipped_bytes_fail_the_verification_too(backup: str, place: str) -> None:
    unit = "pgha-proof@verify.service"
    found = files(PLACES[place].format(label=backup, segment=arrived_segment()))
    with damaged(found[0]):
        said = bed.on("pgbackrest", f"systemctl start {unit} && echo passed", check=False)
        assert said == ""
    bed.on("pgbackrest", f"systemctl start {unit}")


@pytest.mark.long
def test_a_segment_that_is_missing_fails_rehearsal_and_proof(backup: str) -> None:
    segment = arrived_segment()
    path = files(f"archive/pgha/*/{segment}-*")[0]
    arrived_segment()
    with broken("pgbackrest", f"mv {path} /root/kept", f"mv /root/kept {path}"):
        assert not rehearse()
        assert "recovers to segment" in words()
        assert verify()[1]["gaps"] == "failed"
    assert rehearse(), words()


def test_no_room_is_one_clear_line(backup: str) -> None:
    size = "1M"
    with broken(
        "pgbackrest",
        f"mount -t tmpfs -o size={size},mode=700,uid=$(id -u postgres) tmpfs {WORK}",
        f"umount {WORK}",
    ):
        assert not rehearse()
    assert f"the rehearsal failed: {backup} needs" in words()
    assert rehearse(), words()


def test_limit_that_drops_wal_fails_its_proof(cluster: None) -> None:
    path = "/etc/pgbackrest/conf.d/limit.conf"
    write = (
        f"install -D /dev/null {path} && printf '[global]\\narchive-push-queue-max=1GB\\n' >{path}"
    )
    with broken("node1", write, f"rm {path}"):
        assert verify()[1]["queue"] == "failed"
