"""The pooled port: who gets in, what it keeps, and a switchover that no client of it notices."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed

WRITE = "SELECT pg_logical_emit_message(true, 'test', 'write')"
PROXIES = [name for name, host in bed.HOSTS.items() if "haproxy" in host.groups]


@pytest.mark.parametrize("way", [*PROXIES, "virtual IP"])
def test_the_application_writes_and_verifies_whom_it_speaks_to(cluster: None, way: str) -> None:
    host = bed.VIRTUAL_IP if way == "virtual IP" else bed.HOSTS[way].address
    with bed.connect(bed.POOLED, host=host, prepare_threshold=0) as connection:
        for number in range(5):  # a prepared statement, whatever server it lands on
            assert connection.execute("SELECT %s::int", [number]).fetchone() == (number,)
        connection.execute(WRITE)


OWN = {"postgres": "superuser", "replicator": "replication", "rewind_user": "rewind"}
NOBODY: list[dict[str, str]] = [
    {"password": "wrong"},
    {"user": "pgbouncer", "password": ""},
    {"user": "pgbouncer"},
    {"user": "nobody"},
    {"sslmode": "disable"},
    {"dbname": "pgbouncer"},
    *({"user": user} for user in OWN),
]


@pytest.mark.parametrize("options", NOBODY, ids=str)
def test_nobody_else_gets_in(cluster: None, options: dict[str, str]) -> None:
    if options.get("user") in OWN:
        options = options | {"password": bed.secrets()[OWN[options["user"]]]}
    with pytest.raises(psycopg.OperationalError):
        bed.connect(bed.POOLED, **options)


def test_no_password_is_kept_on_the_hosts_that_pool(cluster: None) -> None:
    for name, secret in bed.telltales().items():
        for proxy in PROXIES:
            found = bed.on(proxy, "grep -rlF -f /dev/stdin /etc /run /var/lib", False, secret)
            assert found == "", (name, proxy)


@dataclass
class Clients:
    """What became of everything that clients did meanwhile."""

    written: int = 0
    errors: list[str] = field(default_factory=list)
    longest: float = 0.0


@contextmanager
def clients(count: int = 4) -> Iterator[Clients]:
    """Write through the pooled port until the block ends, over sessions that stay."""
    seen, done = Clients(), threading.Event()

    def write() -> None:
        try:
            with bed.connect(bed.POOLED, host=bed.VIRTUAL_IP, connect_timeout=60) as connection:
                while not done.is_set():
                    started = time.monotonic()
                    connection.execute(WRITE)
                    seen.longest = max(seen.longest, time.monotonic() - started)
                    seen.written += 1
        except psycopg.Error as error:
            seen.errors.append(str(error))

    threads = [threading.Thread(target=write) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()


def writes() -> bool:
    try:
        with bed.connect(bed.POOLED, host=bed.VIRTUAL_IP) as connection:
            connection.execute(WRITE)
    except psycopg.OperationalError:
        return False
    return True


def test_no_client_sees_an_error_in_a_switchover(cluster: None) -> None:
    before = bed.primary()
    with clients() as seen:
        bed.wait_until("writes", lambda: seen.written > 20, deadlines.SERVICE_BACK)
        run = bed.pyinfra("day2/switchover.py", "-y")
        during = seen.written
        bed.wait_until("more writes", lambda: seen.written > during, deadlines.SERVICE_BACK)
    assert run.code == 0, run.stderr[-4000:]
    assert bed.primary() not in ("", before)
    assert seen.errors == []


def test_sessions_go_on_after_a_switchover_that_was_killed(cluster: None) -> None:
    before = bed.primary()
    process = subprocess.Popen(
        bed.command("day2/switchover.py", "-y"), cwd=bed.ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Starting operation: == from here pooled sessions wait ==" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    assert process.wait(deadlines.COMMAND) == -signal.SIGKILL
    paused = "systemctl is-active pgha-hold"
    assert bed.on(PROXIES[0], paused, check=False) == "active"
    bed.wait_until("the pooled port's return", writes, deadlines.SERVICE_BACK)
    assert bed.primary() == before


def test_nothing_moves_while_a_transaction_stays_open(cluster: None) -> None:
    before = bed.primary()
    with bed.connect(bed.POOLED, host=bed.VIRTUAL_IP) as connection, connection.transaction():
        connection.execute(WRITE)
        run = bed.pyinfra("day2/switchover.py", "-y")
        assert run.code == 1
        assert "nothing was moved" in run.stderr
        connection.execute(WRITE)
    assert bed.primary() == before
    bed.wait_until("the pooled port's return", writes, deadlines.SERVICE_BACK)
