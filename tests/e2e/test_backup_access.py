"""A key for backups opens no shell, and a database host cannot take its own backups away."""

import shlex

import pytest

from testbed.hosts import known_hosts
from tests.e2e import testbed as bed
from tests.e2e.test_backup import PGBACKREST, arrived_segment, info

TRUST = "/var/lib/postgresql/.ssh"
# Each would do no harm if it were let through. pgBackRest's own calls look like the last two.
FORBIDDEN = (
    "id",
    "",
    "sh -c id",
    "cat /etc/pgbackrest.conf",
    "pgbackrest --version; id",
    "pgbackrest version `id`",
    "pgbackrest --stanza=pgha --dry-run expire",
    "pgbackrest --stanza=pgha stanza-delete",
    "pgbackrest --process=0 --remote-type=repo --stanza=pgha stanza-delete:remote",
    "pgbackrest --process=0 --remote-type=repo --stanza=pgha expire:remote",
)


def ssh(source: str, target: str, command: str) -> tuple[str, int]:
    """Return what postgres of one host gets from a command on another over SSH, and its status."""
    login = f"ssh -o BatchMode=yes postgres@{bed.HOSTS[target].address}"
    asked = f"runuser -u postgres -- timeout 10 {login} {shlex.quote(command)} </dev/null 2>&1"
    said, _, status = bed.on(source, f"{asked}; status=$?; echo; echo $status").rpartition("\n")
    return said, int(status)


@pytest.mark.parametrize(("source", "target"), [("node1", "pgbackrest"), ("pgbackrest", "node1")])
def test_key_for_backups_opens_nothing_else(cluster: None, source: str, target: str) -> None:
    for command in FORBIDDEN:
        said, status = ssh(source, target, command)
        assert status != 0, f"{command}: {said}"
        assert not any(sign in said for sign in ("uid=", "repo1-", "stop file")), command
    bed.on("pgbackrest", f"{PGBACKREST} check")


def test_every_key_is_bound_to_one_command(cluster: None) -> None:
    for host in (*bed.NODES, "pgbackrest"):
        keys = bed.on(host, f"cat {TRUST}/authorized_keys").splitlines()
        assert keys
        assert all(key.startswith('restrict,command="') for key in keys), host


@pytest.mark.parametrize(
    "command",
    ["--dry-run expire", "stanza-delete", "repo-rm archive/no-such-stanza", "--type=incr backup"],
)
def test_database_host_cannot_do_the_repositorys_work(cluster: None, command: str) -> None:
    before = [backup["label"] for backup in info()["backup"]]
    told = bed.on("node1", f"{PGBACKREST} {command} 2>&1 && echo done", check=False)
    assert not told.endswith("done"), told
    # Nor does it get far enough to be asked for the stop file that has to be there first.
    assert "stop file" not in told
    assert [backup["label"] for backup in info()["backup"]] == before


def test_changed_host_key_is_not_believed(cluster: None) -> None:
    node = next(node for node in bed.NODES if node != bed.primary())
    ask = "runuser -u postgres -- timeout 30 pgbackrest --stanza=pgha info 2>&1"
    address = bed.HOSTS["pgbackrest"].address
    assert "status: ok" in bed.on(node, ask)
    bed.on(node, f"cp -a {TRUST}/known_hosts /root/ && {wrong_keys(node, address)}")
    try:
        told = bed.on(node, ask, check=False)
    finally:
        bed.on(node, f"cat /root/known_hosts >{TRUST}/known_hosts && rm /root/known_hosts")
    assert "Host key verification failed" in told or "status: ok" not in told
    assert "status: ok" in bed.on(node, ask)


def wrong_keys(node: str, address: str) -> str:
    """Return the command that pins the node's own host keys to another host's address."""
    own = f"sed 's/^/{address} /' /etc/ssh/ssh_host_*_key.pub"
    return f"{own} >{TRUST}/known_hosts"


def test_changed_host_key_stops_a_deploy(cluster: None) -> None:
    file = known_hosts(bed.NAME)
    before = file.read_text()
    node1, node2 = (bed.HOSTS[name].address for name in ("node1", "node2"))
    others = [line for line in before.splitlines() if not line.startswith(f"{node1} ")]
    forged = [line.replace(node2, node1) for line in others if line.startswith(f"{node2} ")]
    file.write_text("\n".join([*others, *forged, ""]))
    try:
        run = bed.pyinfra("deploy.py", "-y")
    finally:
        file.write_text(before)
    assert run.code != 0
    assert "host key" in run.stderr.lower()
    assert "Starting operation" not in run.stderr


def test_repository_is_encrypted(cluster: None) -> None:
    arrived_segment()
    # OpenSSL's mark for "encrypted with a passphrase" stands at the head of each file, but for
    # those of parts, which are encrypted one by one: in them zstd's mark would be seen.
    files = "find /data/pgbackrest -type f ! -name '*.lock'"
    heads = f"{files} ! -path '*/bundle/*' ! -name '*.pgbi' -print0 | xargs -0 -n 1"
    marked = 'sh -c \'test "$(head -c 8 "$0")" = Salted__ || echo "$0"\''
    assert int(bed.on("pgbackrest", f"{files} | wc -l")) > 5
    assert bed.on("pgbackrest", f"{heads} {marked}") == ""
    zstd = "/root/a-zstd-frame"
    bed.on("pgbackrest", f"printf 'x\\050\\265\\057\\375x' >{zstd}")
    seen = r"LC_ALL=C grep -rlP '\x28\xb5\x2f\xfd' /data/pgbackrest"
    assert bed.on("pgbackrest", f"{seen} {zstd}; rm {zstd}") == zstd
