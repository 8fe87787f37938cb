"""A copy of the cluster on hosts of its own, from the repository, to which it cannot write."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
import yaml

from testbed import hands
from testbed.hosts import SUBNETS, Host, hosts, secrets_file, virtual_ip
from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import arrived_segment, info
from tests.e2e.test_restore import UNDO, failed_over, moment_among_writes, writing

pytestmark = pytest.mark.long

# One database host is enough: how members are filled is test_restore's promise.
COPY, NODES = "pgha-copy", 1
ENVIRONMENT = {"PGHA_TESTBED": COPY, "PGHA_NODES": str(NODES)}
HOSTS: dict[str, Host] = {host.name: host for host in hosts(COPY, NODES)}
# Where the repository host stands in the copy's network: these have no way to each other else.
REPOSITORY = f"{SUBNETS[COPY]}.90"
READER = "/var/lib/pgha-reader"


def command(*arguments: str) -> list[str]:
    return bed.command(*arguments, "--data", "cluster_name=copy")


def copied(*arguments: str) -> bed.Run:
    """Run pyinfra against the copy."""
    done = subprocess.run(
        command(*arguments),
        cwd=bed.ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True,
        timeout=deadlines.DEPLOY,
    )  # fmt: skip
    return bed.Run(done.returncode, done.stdout, done.stderr)


def source() -> tuple[str, str]:
    """Return what the copy has to be told of the repository."""
    key = bed.on("pgbackrest", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    told = {"stanza": "pgha", "address": REPOSITORY, "host_key": key}
    return "--data", f"pgbackrest_source={json.dumps(told)}"


def on_copy(shell: str) -> str:
    """Return what a command prints on the copy's database host."""
    return subprocess.run(
        ["docker", "exec", HOSTS["node1"].container, "bash", "-c", shell],
        check=True, capture_output=True, text=True, timeout=deadlines.COMMAND,
    ).stdout.strip()  # fmt: skip


def key_of_copy() -> str:
    return on_copy("cut -d' ' -f1,2 ~postgres/.ssh/id_ed25519.pub")


def readers() -> tuple[str, str]:
    """Return what the cluster has to be told of the copy."""
    told = [{"name": "copy", "address": HOSTS["node1"].address, "key": key_of_copy()}]
    return "--data", f"pgbackrest_readers={json.dumps(told)}"


def connect(password: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=virtual_ip(COPY), port=bed.RW, user="app", dbname="app", password=password,
        connect_timeout=5, sslmode="verify-full", sslrootcert=str(hands.authority(COPY)),
    )  # fmt: skip


def password_of_copy() -> str:
    return str(yaml.safe_load(secrets_file(COPY).read_text())["app"])


def repository() -> dict[str, str]:
    """Return all files of the repository that stay as they are, each with its checksum."""
    lines = bed.on(
        "pgbackrest", "cd /data/pgbackrest && find archive backup -type f -exec sha256sum {} +"
    ).splitlines()
    found = {line.split()[1]: line.split()[0] for line in lines}
    return {path: total for path, total in found.items() if ".info" not in path}


@pytest.fixture(scope="module")
def copy(deployed: bed.Run) -> Iterator[None]:
    """Another cluster, deployed, with a network to the repository host."""
    testbed = [sys.executable, "testbed/testbed.py"]
    environment = {**os.environ, **ENVIRONMENT}

    def run(command: str) -> None:
        subprocess.run(
            [*testbed, command],
            cwd=bed.ROOT, env=environment, check=True, timeout=deadlines.TESTBED_UP,
        )  # fmt: skip

    is_kept = os.environ.get("PGHA_KEEP") == "1"
    if not is_kept:
        run("down")
    run("up")
    bed.docker("network", "connect", "--ip", REPOSITORY, COPY, bed.container("pgbackrest"))
    try:
        done = copied("deploy.py", "-y", *source())
        assert done.code == 0, done.stderr[-4000:]
        yield
    finally:
        bed.docker("network", "disconnect", COPY, bed.container("pgbackrest"))
        if not is_kept:
            run("down")


def test_nobody_reads_who_was_not_let_in(cluster: None, copy: None) -> None:
    run = copied("day2/clone.py", "--dry", "--data", "target=latest", *source())
    assert run.code != 0
    assert f"node1 cannot read backups of pgha at {REPOSITORY}" in run.stderr
    # What the other side has to be told stands there whole.
    assert key_of_copy() in run.stderr
    assert HOSTS["node1"].address in run.stderr


def test_a_copy_has_the_rows_of_a_moment_and_cannot_write_back(cluster: None, copy: None) -> None:
    bed.deploy(*readers())
    assert bed.deploy(*readers()).changes == []
    with writing() as writers:
        target, by_then = moment_among_writes(writers)
    failed_over()
    arrived_segment()
    files, backups = repository(), len(info()["backup"])
    words = ("--data", f"target={target}", *source())
    dry = copied("day2/clone.py", "--dry", *words)
    assert dry.code == 0, dry.stderr[-4000:]
    assert f"Clone of pgha into copy to: time {target[:26]}" in dry.stderr
    refused = copied("day2/clone.py", "-y", *words, "--data", "confirm=pgha")
    assert refused.code != 0
    assert "nobody confirmed that copy is meant" in refused.stderr
    run = copied("day2/clone.py", "-y", *words, "--data", "confirm=copy")
    assert run.code == 0, run.stderr[-6000:]
    with connect(password_of_copy()) as connection:
        found = {row for (row,) in connection.execute("SELECT id FROM written")}
    assert found == by_then
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(bed.secrets()["app"])
    # The source: what was there is there, unchanged, and nothing but its own has come.
    after = repository()
    assert {path: after.get(path) for path in files} == files
    assert len(info()["backup"]) == backups
    timelines = {path.split("/")[-1][:8] for path in after if path.startswith("archive")}
    assert timelines == {path.split("/")[-1][:8] for path in files if path.startswith("archive")}


def test_a_copy_is_a_cluster_of_its_own(cluster: None, copy: None) -> None:
    proofs = copied("verify.py", "-y")
    assert proofs.code == 0, proofs.stdout + proofs.stderr
    again = copied("deploy.py", "-y", "--json", *source())
    assert again.code == 0, again.stderr[-4000:]
    assert again.changes == []


@pytest.fixture
def subscribed(cluster: None) -> Iterator[None]:
    """The cluster takes changes from a publisher (where nobody listens)."""
    psql = "cd / && psql -XAtq -v ON_ERROR_STOP=1 app -c"
    options = "connect = false, slot_name = 'of_the_cluster'"
    bed.on(bed.primary(), f'{psql} "CREATE SUBSCRIPTION taken CONNECTION \'host=127.0.0.1 port=9\''
           f' PUBLICATION all_of_it WITH ({options})" -c "ALTER SUBSCRIPTION taken ENABLE"',
           user="postgres")  # fmt: skip
    yield
    bed.on(bed.primary(), f'{psql} "ALTER SUBSCRIPTION taken DISABLE" -c "ALTER SUBSCRIPTION taken'
           ' SET (slot_name = NONE)" -c "DROP SUBSCRIPTION taken"', user="postgres")  # fmt: skip


def test_a_copy_is_made_anew_of_a_later_moment(cluster: None, copy: None, subscribed: None) -> None:
    with bed.connect(bed.RW) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS later (at timestamptz)")
        connection.execute("INSERT INTO later VALUES (now())")
    arrived_segment()
    words = ("--data", "target=latest", *source(), "--data", "confirm=copy")
    run = copied("day2/clone.py", "-y", *words)
    assert run.code == 0, run.stderr[-6000:]
    with connect(password_of_copy()) as connection:
        assert connection.execute("SELECT count(*) FROM later").fetchone() == (1,)
        enabled = connection.execute("SELECT subname, subenabled FROM pg_subscription").fetchall()
        assert enabled == [("taken", False)], "the publisher's changes are the original's"
        # The archive of its own has a way to this timeline, so it goes back by itself, too.
        connection.execute("CREATE TABLE of_the_copy ()")
        connection.commit()
        now = datetime.now(UTC).isoformat(" ", "microseconds")
        connection.execute("DROP TABLE of_the_copy")
    back = copied("day2/restore.py", "-y", "--data", f"target={now}", "--data", "confirm=copy")
    assert back.code == 0, back.stderr[-6000:]
    with connect(password_of_copy()) as connection:
        assert connection.execute("SELECT count(*) FROM of_the_copy").fetchone() == (0,)


def test_a_killed_clone_goes_on_and_can_be_undone(cluster: None, copy: None) -> None:
    with connect(password_of_copy()) as connection:
        connection.execute("CREATE TABLE before_it ()")
    words = (*source(), "--data", "confirm=copy")
    clone = ("day2/clone.py", "-y", "--data", "target=latest", *words)
    for operation in (
        "Restore a backup beside the data, up to the target",
        "Promote what was restored",
        "Put the old data aside and start the restored",
        "Let the archive be its own",
    ):
        bed.kill_at(operation, command(*clone), **ENVIRONMENT)
    run = copied(*clone)
    assert run.code == 0, run.stderr[-6000:]

    def has(table: str) -> bool:
        with connect(password_of_copy()) as connection:
            return connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,)

    assert (has("before_it"), has("later")) == (False, True)
    moment = on_copy("ls -d /data/pgdata.before-* | tail -n 1").rpartition("-")[2]
    run = copied(UNDO, "-y", "--data", f"target={moment}", *words)
    assert run.code == 0, run.stderr[-6000:]
    assert has("before_it")
    again = copied("deploy.py", "-y", "--json", *source())
    assert again.code == 0, again.stderr[-4000:]
    assert again.changes == []


def test_a_reader_cannot_write_whatever_it_says(cluster: None, copy: None) -> None:
    bed.deploy(*readers())
    as_reader = "runuser -u pgha-reader --"
    held = "/data/pgbackrest/archive/pgha/archive.info"
    assert bed.on("pgbackrest", f"{as_reader} head -c 4 {held} | wc -c") == "4"
    keys = ("cat /etc/pgbackrest.conf", "cat /etc/pgha/pgbackrest-rehearsal.conf")
    for attempt in (f"touch {held}", f"rm -f {held}", "touch /data/pgbackrest/new", *keys):
        assert "Permission denied" in bed.on("pgbackrest", f"{as_reader} {attempt} 2>&1; true"), (
            attempt
        )
    said = bed.on(
        "pgbackrest",
        f"{as_reader} env SSH_CONNECTION=x SSH_ORIGINAL_COMMAND='pgbackrest --remote-type=repo"
        " --stanza=pgha archive-push:remote' /usr/local/sbin/pgha-pgbackrest-reader reader 2>&1"
        " || true",
    )
    assert "a command that is not for this host" in said


def test_who_is_a_reader_no_more_is_shut_out(cluster: None, copy: None) -> None:
    bed.deploy()
    assert (
        bed.on("pgbackrest", f"ls -d {READER} 2>/dev/null; getent passwd pgha-reader; true") == ""
    )
    run = copied("day2/clone.py", "--dry", "--data", "target=latest", *source())
    assert run.code != 0
    assert "node1 cannot read backups of pgha" in run.stderr
    assert bed.deploy().changes == []
