"""The containers as the tests see them: pyinfra against them, commands on them, SQL to them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

import cluster
from identities import AUTHORITY
from platforms import Platform
from testbed import hands
from testbed.hosts import Host, hosts, outsider, secrets_file, virtual_ip
from tests.e2e import deadlines

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = os.environ.setdefault("PGHA_TESTBED", "pgha-test")
# The image that hosts stand on, such as el8; the testbed's own choice without one.
BASE = os.environ.get("PGHA_BASE", "")
PLATFORM = Platform("el", BASE[2:], 18) if BASE.startswith("el") else Platform("debian", "", 18)
HOSTS = {host.name: host for host in hosts(NAME)}
OUTSIDER: Host = outsider(NAME)
NODES = [name for name in HOSTS if name.startswith("node")]
VIRTUAL_IP = virtual_ip(NAME)
SITE = hands.site(NAME)
RW, RO, POOLED = hands.RW, hands.RO, hands.POOLED
ETCDCTL = cluster.ETCDCTL
STARTING = "Starting operation: "  # as pyinfra says it
CURL = f"curl --silent --show-error --max-time 5 --cacert {AUTHORITY}"


@dataclass(frozen=True)
class Run:
    """What a pyinfra run left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def totals(self) -> dict[str, int]:
        totals: dict[str, int] = json.loads(self.stdout)["results"]["totals"]
        return totals

    @property
    def changes(self) -> list[str]:
        """Names of the operations that changed a host."""
        operations = json.loads(self.stdout)["results"]["operations"]
        return [", ".join(o["names"]) for o in operations if o["success"]]


def command(*arguments: str) -> list[str]:
    """Return the command line of pyinfra against this testbed."""
    return [sys.executable, "-m", "pyinfra", "inventories/docker.py", *arguments]


def pyinfra(*arguments: str) -> Run:
    """Run pyinfra from the repository root, to its end."""
    done = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=deadlines.DEPLOY
    )
    return Run(done.returncode, done.stdout, done.stderr)


def deploy(*arguments: str) -> Run:
    """Deploy, and fail the test with pyinfra's own words where that fails."""
    run = pyinfra("deploy.py", "-y", "--json", *arguments)
    assert run.code == 0, run.stderr[-4000:]
    return run


def kill_at(operation: str, command: list[str], **environment: str) -> None:
    """Start a run and kill it in `operation`: a second after it starts, or when it has ended."""
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said, in_it = [], threading.Timer(1, process.kill)
    for line in process.stderr:
        said.append(line)
        if in_it.ident and STARTING in line:  # the next operation
            process.kill()
        elif STARTING + operation in line:
            in_it.start()
    in_it.cancel()
    process.stderr.close()
    assert process.wait(deadlines.DEPLOY) == -signal.SIGKILL, "".join(said[-40:])


def on(host: str, shell: str, check: bool = True, stdin: str = "", user: str = "root") -> str:
    """Return what a shell command prints on a host; a secret for it goes over stdin."""
    done = subprocess.run(
        ["docker", "exec", "-i", "-u", user, container(host), "bash", "-c", shell],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=deadlines.COMMAND,
    )
    assert done.returncode == 0 or not check, f"{host}: {shell}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def container(host: str) -> str:
    """Return the container of a host of the cluster, or of the outsider."""
    return HOSTS[host].container if host in HOSTS else OUTSIDER.container


def docker(*arguments: str) -> None:
    """Run docker on the containers of this testbed."""
    subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, timeout=deadlines.COMMAND
    )


def testbed(*arguments: str) -> None:
    """Run testbed/testbed.py."""
    subprocess.run(
        [sys.executable, "testbed/testbed.py", *arguments],
        cwd=ROOT, check=True, timeout=deadlines.TESTBED_UP,
    )  # fmt: skip


def up() -> None:
    """Make and start the hosts of the cluster, and one outside of it."""
    testbed("up", "--outsider", *(("--base", BASE) if BASE else ()))


def wait_until(what: str, ready: Callable[[], Any], seconds: float) -> Any:
    """Return the first true answer of `ready`; fail the test when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        if answer := ready():
            return answer
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.5)


members, primary = SITE.members, SITE.primary
"""Patroni's members by name, as any one of them sees them; the running primary's name, or ""."""


def healthy() -> bool:
    """Say whether one member leads and all others stream on its timeline."""
    found = members()
    states = sorted(member["state"] for member in found.values())
    timelines = {member.get("timeline") for member in found.values()}
    return states == ["running", "streaming", "streaming"] and len(timelines) == 1


def secrets() -> dict[str, str]:
    """Return all that is in the testbed's secrets file, the authority's certificate too."""
    values: dict[str, str] = yaml.safe_load(secrets_file(NAME).read_text())
    return values


def telltales() -> dict[str, str]:
    """Return for each secret one line that must not be seen anywhere, by the secret's name."""
    found = secrets()
    del found["authority_certificate"]
    # Of the authority's key the second line between the marks: the first is nearly all header.
    found["authority_key"] = found["authority_key"].splitlines()[2]
    return found


def sql(node: str, query: str) -> str:
    """Return what a query gives the superuser on a node, as psql prints it."""
    psql = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -f -"
    return on(node, f"cd / && {psql}", stdin=query)


def connect(port: int, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection through HAProxy as the application, encrypted and verified."""
    wanted: dict[str, Any] = {
        "host": HOSTS["haproxy"].address, "port": port, "user": "app", "dbname": "app",
        "password": secrets()["app"], "connect_timeout": 5, "sslmode": "verify-full",
        "sslrootcert": str(hands.authority(NAME)),
    } | options  # fmt: skip
    return psycopg.connect(autocommit=True, **wanted)
