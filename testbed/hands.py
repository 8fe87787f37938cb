"""The containers of a testbed as faults reach them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from threading import Thread
from typing import IO, cast

import yaml

from faults import trial
from faults.answers import Fitness
from faults.catalogue import Fault
from faults.load import Plan
from faults.site import Power, Site, Unreachable
from faults.trial import Trial
from identities import ASK
from testbed.hosts import STATE, SUBNETS, Host, hosts, secrets_file, virtual_ip

ROOT = Path(__file__).resolve().parent.parent
COMMAND_SECONDS = 180.0
DAY2_SECONDS = 600.0
RW, RO, POOLED = 5000, 5001, 6432
# As HAProxy asks for them (templates/haproxy.cfg.j2).
REPLICA = "/replica?lag=64MB"

# Asks all members side by side twice a second until its stdin ends.
_WATCH = """
while :; do
    for pair in {pairs}; do
        (code=$({ask} --max-time 2 --request OPTIONS --output /dev/null \
            --write-out '%{{http_code}}' "https://${{pair#*=}}:{port}{path}")
        echo "${{pair%%=*}} $(date +%s.%N) $code") &
    done
    wait $(jobs -p)
    read -r -t 0.5 _; [ $? -gt 128 ] || exit 0
done
"""


class Containers:
    """Hands that are docker commands."""

    def __init__(self, testbed: str) -> None:
        self.testbed = testbed
        self.containers = {host.name: host.container for host in hosts(testbed)}

    def shell(self, host: str, command: str) -> str:
        return _run(
            ["docker", "exec", "-i", self.containers[host], "bash", "-c", command],
            f"{host}: {command}",
            COMMAND_SECONDS,
        )

    def power(self, host: str, verb: Power) -> None:
        words = ["kill", "--signal", "KILL"] if verb == "kill" else [verb]
        if verb == "stop":
            words += ["--time", "90"]
        _run(["docker", *words, self.containers[host]], f"docker {verb} {host}", COMMAND_SECONDS)

    def local(self, *command: str) -> None:
        pyinfra = [sys.executable, "-m", "pyinfra", "inventories/docker.py", *command]
        _run(pyinfra, " ".join(command), DAY2_SECONDS, {"PGHA_TESTBED": self.testbed})


def _run(
    command: list[str], what: str, seconds: float, environment: dict[str, str] | None = None
) -> str:
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{what} took more than {seconds:.0f} s") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Unreachable(f"{what}: exit status {done.returncode}: {' / '.join(words)}")
    return done.stdout.strip()


def site(testbed: str) -> Site:
    """Return the cluster on a testbed."""
    every: dict[str, list[Host]] = {
        group: [host for host in hosts(testbed) if group in host.groups]
        for group in ("postgres", "etcd", "haproxy", "pgbackrest")
    }
    named = {group: {h.name: h.address for h in found} for group, found in every.items()}
    (repository,) = every["pgbackrest"]
    return Site(
        hands=Containers(testbed),
        scope="pgha",
        nodes=named["postgres"],
        etcd=named["etcd"],
        proxies=named["haproxy"],
        repository=(repository.name, repository.address),
        entrance=virtual_ip(testbed),
    )


def authority(testbed: str) -> Path:
    """Return a file with the authority's certificate, as a client would be given it."""
    certificate = yaml.safe_load(secrets_file(testbed).read_text())["authority_certificate"]
    path = STATE / testbed / "ca.crt"
    if not path.exists() or path.read_text() != certificate:
        path.write_text(certificate)
    return path


def plan(testbed: str, port: int = RW, probed: bool = True) -> Plan:
    """Return clients of the cluster on a testbed: the application's role, through the virtual IP.

    + port: of the write port
    + probed: each member too, which needs `doors`
    """
    secrets = yaml.safe_load(secrets_file(testbed).read_text())
    nodes = {host.name: host.address for host in hosts(testbed) if "postgres" in host.groups}
    return Plan(
        login={
            "user": "app", "dbname": "app", "password": secrets["app"],
            "sslmode": "verify-full", "sslrootcert": str(authority(testbed)),
        },
        write=(virtual_ip(testbed), port),
        read=(virtual_ip(testbed), RO),
        nodes=nodes if probed else {},
    )  # fmt: skip


def doors(testbed: str) -> list[str]:
    """Return pyinfra's options that let this machine's probes in to the members."""
    return ["--data", f"postgresql_client_networks={json.dumps([f'{SUBNETS[testbed]}.1/32'])}"]


@contextmanager
def watch(testbed: str, fitness: list[Fitness]) -> Iterator[None]:
    """Collect who is fit to be read from, as the HAProxy host sees it that clients do not use."""
    where = site(testbed)
    holder = where.holder()
    waiting = next(name for name in where.proxies if name != holder)
    pairs = " ".join(f"{name}={address}" for name, address in where.nodes.items())
    script = _WATCH.format(
        pairs=pairs, ask=ASK.replace(" --fail", ""), port=where.rest_port, path=REPLICA
    )
    process = subprocess.Popen(
        ["docker", "exec", "-i", f"{testbed}-{waiting}", "bash", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

    def collect() -> None:
        for line in stdout:
            node, at, code = line.split()
            fitness.append(Fitness(node, float(at), code == "200"))

    collector = Thread(target=collect)
    collector.start()
    try:
        yield
    finally:
        stdin.close()
        collector.join()
        process.wait()


def tried(testbed: str, fault: Fault, random: Random, load: Plan, folder: Path) -> Trial:
    """Return what a fault did to the cluster on a testbed; what goes wrong is kept in the folder.

    Raises Unreachable when all is not well again within five minutes.
    """
    where, since = site(testbed), f"{datetime.now(UTC):%F %T}"
    try:
        done, _ = trial.run(where, fault, random, load, folder, partial(watch, testbed))
    except Unreachable:
        keep_logs(where, since, folder)
        raise
    if not done.is_sound:
        keep_logs(where, since, folder)
    return done


def keep_logs(where: Site, since: str, folder: Path) -> None:
    """Keep what every host logged since a time (UTC) in a folder, a file per host."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in where.addresses:
        said = where.ask(name, f"TZ=UTC journalctl --no-pager -o short-precise --since '{since}'")
        (folder / f"{name}.log").write_text(said)
