"""No secret is to be seen: not on disks, not in processes, not in logs, not in git."""

import subprocess
import time

from testbed.hosts import secrets_file
from tests.e2e import testbed as bed
from tests.e2e.watcher import watching

# Stands for a secret in each place that is searched, so that a search that finds nothing fails.
PLANTED = "plantedBySecurityTests7Qz"
FILES = {
    "node1": {
        "/etc/patroni/config.yml": "600 postgres",
        "/usr/local/sbin/pgha-etcdctl": "700 root",
        "/etc/pgha/etcd/tls.key": "600 etcd",
        "/etc/pgha/postgres/tls.key": "600 postgres",
    },
    "pgbackrest": {
        "/etc/pgbackrest.conf": "600 postgres",
        "/etc/pgha/pgbackrest-rehearsal.conf": "600 postgres",
    },
}


def lines(**more: str) -> str:
    """Return what to search for, one a line, as `grep -f -` takes it."""
    return "\n".join({**bed.telltales(), **more}.values())


def test_files_with_secrets_belong_to_one_user(cluster: None) -> None:
    for host, files in FILES.items():
        for path, access in files.items():
            assert bed.on(host, f"stat -c '%a %U' {path}") == access, path
    mode = secrets_file(bed.NAME).stat().st_mode
    assert oct(mode & 0o777) == "0o600"


def test_nothing_of_a_secret_is_readable_by_others_on_a_host(cluster: None) -> None:
    places = "/data /dev/shm /etc /home /opt /root /run /srv /tmp /usr/local /var"
    search = f"grep -rslF -D skip -f - {places}"
    for host in bed.HOSTS:
        bed.on(host, f"echo {PLANTED} >/var/tmp/planted")
        try:
            found = bed.on(host, search, check=False, stdin=lines(planted=PLANTED), user="nobody")
        finally:
            bed.on(host, "rm /var/tmp/planted")
        assert found.splitlines() == ["/var/tmp/planted"], f"{host}: {found}"  # noqa: S108


DRIFTING = ("/etc/patroni/config.yml", "/usr/local/sbin/pgha-etcdctl", "/etc/pgbackrest.conf")


def drifted() -> None:
    """Change by hand what holds a secret, so that the next deploy carries all of them again."""
    for node in bed.NODES:
        bed.on(node, f"for file in {' '.join(DRIFTING)}; do echo '# drift' >>$file; done")
    bed.on("pgbackrest", "echo '# drift' >>/etc/pgbackrest.conf")
    bed.sql(bed.primary(), "ALTER ROLE app PASSWORD 'drift'")


def test_secrets_are_not_to_be_seen_while_they_travel(cluster: None) -> None:
    began = int(time.time())
    # From here to the end PostgreSQL's log has every statement of the superuser, twice.
    bed.sql(bed.primary(), "ALTER ROLE postgres SET log_statement = 'all'")
    bed.sql(bed.primary(), "ALTER ROLE postgres SET log_min_duration_statement = 0")
    try:
        drifted()
        with watching(bed.telltales() | {"planted": PLANTED}) as seen:
            for host in bed.HOSTS:
                plant = f"echo {PLANTED} >/var/tmp/planted; sleep 0.3; rm /var/tmp/planted"
                bed.on(host, f"{plant}; echo {PLANTED} | systemd-cat")
            deploy = bed.pyinfra("deploy.py", "-y", "--diff", "-vvv", "--debug")
            verify = bed.pyinfra("verify.py", "-y", "-vvv", "--debug")
    finally:
        bed.sql(bed.primary(), "ALTER ROLE postgres RESET ALL")
    assert deploy.code == 0, deploy.stderr[-4000:]
    assert verify.code == 0, verify.stderr[-4000:]
    for node in bed.NODES:
        assert bed.on(node, f"grep -l '^# drift' {' '.join(DRIFTING)}", check=False) == ""
    bed.connect(bed.RW).close()
    printed = deploy.stdout + deploy.stderr + verify.stdout + verify.stderr
    assert [name for name, secret in bed.telltales().items() if secret in printed] == []
    for host in bed.HOSTS:
        assert seen[host] == {"planted in a command line", "planted in /var/tmp"}, host
        # The journal has PostgreSQL's log, and every command that sudo was asked for.
        logged = (
            "exec 3<&0; journalctl --sync;"
            " journalctl --no-pager -o cat | grep -F -f /dev/fd/3 | sort -u"
        )
        assert bed.on(host, logged, stdin=lines(planted=PLANTED)) == PLANTED, host
        in_files = bed.on(host, "grep -rslF -f - /var/log --exclude-dir=journal", check=False,
                          stdin=lines())  # fmt: skip
        assert in_files == "", host
    # What PostgreSQL stores of a password would let others guess it, or pose as a server.
    statements = f"journalctl --no-pager -o cat --since=@{began} | grep -F ' ROLE '"
    logged = "".join(bed.on(node, statements, check=False) for node in bed.NODES)
    assert "PASSWORD 'drift'" in logged
    assert "SCRAM-SHA-256$" not in logged
    for node in bed.NODES:
        running = bed.sql(node, "SELECT query FROM pg_stat_activity")
        assert [name for name, secret in bed.telltales().items() if secret in running] == []


def test_git_has_no_secret_and_no_key(cluster: None) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=bed.ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    secrets = [secret.encode() for secret in bed.telltales().values()]
    paths = [bed.ROOT / name for name in listed.split("\0") if name]
    found = [
        str(path)
        for path in paths
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]
    assert len(paths) > 100
    assert found == []
