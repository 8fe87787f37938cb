"""WAL and backups go to every repository, and one that is broken stops none of the others."""

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.hosts import secrets_file
from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import PGBACKREST, info, switched_segment
from tests.e2e.test_restore import CONFIRM, OLD, moment_among_writes, rows, writing

pytestmark = pytest.mark.long

SECOND, SFTP = "/data/second", "/home/keeper/pgha"
USER, SECRET, AUTHORITY = "keeper", "a-secret-of-the-bucket", "/etc/pgha/object-store.crt"
TIMERS = "cd /etc/systemd/system && ls pgbackrest-backup*.timer"


def sftp(shell: str) -> str:
    """Return what a command prints on the host that has sshd and nothing of ours."""
    return bed.on("outsider", shell)


@pytest.fixture(scope="module")
def bucket(deployed: bed.Run) -> dict[str, Any]:
    """An object store on the same host, which all others trust."""
    store = (bed.ROOT / "testbed" / "object_store.sh").read_text()
    authority = bed.on("outsider", f"bash -s {bed.OUTSIDER.address} {USER} {SECRET}", stdin=store)
    for host in (*bed.NODES, "pgbackrest"):
        bed.on(host, f"cat >{AUTHORITY}", stdin=authority)
    return {"name": "bucket", "type": "s3", "endpoint": bed.OUTSIDER.address, "bucket": "backups",
            "region": "us-east-1", "uri_style": "path", "ca_file": AUTHORITY,
            "path": "/pgha"}  # fmt: skip


@pytest.fixture(scope="module")
def options(
    deployed: bed.Run, bucket: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Three further repositories, and what a run has to be told of them."""
    key = tmp_path_factory.mktemp("sftp") / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", str(key)], check=True
    )
    sftp(
        "useradd -m keeper && install -d -o keeper -m 700 ~keeper/.ssh ~keeper/pgha &&"
        f" echo '{key.with_suffix('.pub').read_text().strip()}' >~keeper/.ssh/authorized_keys"
        " && chown -R keeper ~keeper"
    )
    fingerprint = sftp("ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub").split()[1]
    common = {"retention_days": 7, "full_schedule": "Sun 05:00", "incr_schedule": "hourly"}
    repositories: list[dict[str, Any]] = [
        {"name": "second", "type": "posix", "path": SECOND, **common},
        {"name": "elsewhere", "type": "sftp", "host": bed.OUTSIDER.address, "user": "keeper",
         "host_key": fingerprint, "path": SFTP, **common},
        {**bucket, **common},
    ]  # fmt: skip
    file = secrets_file(bed.NAME)
    before = file.read_text()
    keys = {
        "elsewhere": {"private_key": key.read_text(), "passphrase": "a passphrase of its own"},
        "bucket": {"key": f"test:{USER}", "key_secret": SECRET, "passphrase": "another of its own"},
    }
    file.write_text(yaml.safe_dump(yaml.safe_load(before) | {"repositories": keys}))
    yield ["--data", f"pgbackrest_repositories={json.dumps(repositories)}"]
    file.write_text(before)
    bed.deploy()
    sftp("userdel -r keeper")
    bed.on("pgbackrest", f"rm -rf {SECOND}")


@pytest.fixture
def four(cluster: None, options: list[str]) -> list[str]:
    """A cluster with four repositories."""
    bed.deploy(*options)
    return options


def holds(number: int, *segments: str) -> bool:
    archive = next(one for one in info()["archive"] if one["database"]["repo-key"] == number)
    path = f"archive/pgha/{archive['id']}/{segments[0][:16]}"
    found = bed.on("pgbackrest", f"{PGBACKREST} --repo={number} repo-ls {path}")
    return all(segment in found for segment in segments)


def proofs(options: list[str]) -> dict[str, dict[str, str]]:
    run = bed.pyinfra("verify.py", "-y", "--data", "verify_format=json", *options)
    return {one["name"]: one for one in json.loads(run.stdout)["proofs"]}


def test_every_repository_gets_wal_and_backups(four: list[str]) -> None:
    assert {one["database"]["repo-key"] for one in info()["backup"]} == {1, 2, 3, 4}
    segment = switched_segment()
    for number in (1, 2, 3, 4):
        arrival = partial(holds, number, segment)
        bed.wait_until(f"the arrival in {number}", arrival, deadlines.ARCHIVED)
    assert "aes-256-cbc" in bed.on("pgbackrest", "grep repo3-cipher-type /etc/pgbackrest.conf")
    timers = bed.on("pgbackrest", TIMERS).split()
    assert {"pgbackrest-backup-second@incr.timer", "pgbackrest-backup-elsewhere@full.timer"} <= {
        *timers
    }
    bed.on("pgbackrest", "systemctl start pgbackrest-backup-{elsewhere,bucket}@incr")
    bed.on("pgbackrest", "systemctl start pgha-proof@verify")
    found = proofs(four)
    assert {found[name]["status"] for name in ("backup", "gaps", "verified")} == {"ok"}
    for name in ("elsewhere", "bucket"):
        assert f"{name}: 2 backups" in found["backup"]["evidence"]
    assert bed.deploy(*four).changes == []


def test_a_broken_repository_stops_no_other(four: list[str]) -> None:
    sftp(f"mv {SFTP} {SFTP}.away && touch {SFTP}")
    try:
        segments = [switched_segment() for _ in range(12)]
        for number in (1, 2, 4):
            arrival = partial(holds, number, *segments)
            bed.wait_until(f"the arrival of all in {number}", arrival, deadlines.ARCHIVED)
        bed.on("pgbackrest", "systemctl start pgbackrest-backup@diff")
        assert proofs(four)["backup"]["status"] == "failed"
    finally:
        sftp(f"rm {SFTP} && mv {SFTP}.away {SFTP}")
    bed.wait_until("the arrival of all there", partial(holds, 3, *segments), deadlines.ARCHIVED)
    assert proofs(four)["gaps"]["status"] == "ok"


def test_damage_in_any_repository_is_found(four: list[str]) -> None:
    bundle = bed.on("pgbackrest", f"ls {SECOND}/backup/pgha/*F/bundle/* | head -n 1")
    bed.on("pgbackrest", f"cp {bundle} /root/bundle && printf x | dd of={bundle} bs=1 seek=2000"
           " conv=notrunc")  # fmt: skip
    try:
        bed.on("pgbackrest", "! systemctl start pgha-proof@verify")
        assert proofs(four)["verified"]["status"] == "failed"
        said = bed.on("pgbackrest", "journalctl -u pgha-proof@verify -n 60 -o cat")
        assert "repository 2" in said
    finally:
        bed.on("pgbackrest", f"cat /root/bundle >{bundle}; systemctl start pgha-proof@verify")


@pytest.mark.parametrize("repository", ["second", "bucket"])
def test_the_cluster_goes_back_by_another_repository(four: list[str], repository: str) -> None:
    with writing() as writers:
        target, by_then = moment_among_writes(writers)
    wanted = [*CONFIRM, "--data", f"target={target}", "--data", f"repository={repository}"]
    run = bed.pyinfra("day2/restore.py", "-y", *wanted, *four)
    try:
        assert run.code == 0, run.stderr[-6000:]
        assert f"of the repository {repository}, which ended" in run.stderr
        assert rows() == by_then
        assert bed.deploy(*four).changes == []
    finally:
        for node in bed.NODES:
            bed.on(node, f"rm -rf {OLD}")


def test_a_repository_that_is_given_up_gets_nothing_more(four: list[str]) -> None:
    left = four[1].partition(', {"name": "elsewhere"')[0] + "]"
    bed.deploy("--data", left)
    assert "second" in bed.on("pgbackrest", TIMERS)
    what_is_its = "ls /etc/systemd/system /etc/pgha/pgbackrest-keys | grep elsewhere"
    assert bed.on("pgbackrest", what_is_its, check=False) == ""
    assert bed.deploy("--data", left).changes == []
    assert "sftp" not in bed.on("node1", "cat /etc/pgbackrest.conf")


def test_a_member_is_filled_where_the_first_repository_is_gone(four: list[str]) -> None:
    replica = next(node for node in bed.NODES if node != bed.primary())
    repository = Path("/data/pgbackrest/backup")
    bed.on("pgbackrest", f"mv {repository} {repository}.away")
    try:
        bed.on(replica, "systemctl stop patroni && find /data/pgdata -mindepth 1 -delete"
               " && systemctl start patroni")  # fmt: skip
        bed.wait_until("the member's return", bed.healthy, deadlines.REJOIN)
        log = bed.on(replica, "cat /var/log/pgbackrest/pgha-restore.log")
        assert "repo2: restore backup set" in log
    finally:
        bed.on("pgbackrest", f"mv {repository}.away {repository}")
