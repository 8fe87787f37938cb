"""What it costs that a commit waits for a replica: pgbench with and without, by turns."""

import sys
from collections.abc import Callable

import yaml

from bench.deploy import on, run
from bench.tls import LOADS, Pgbench
from faults.steps import wait_until
from testbed import hands
from testbed.hosts import hosts, secrets_file

LEVELS = ("quorum", "async")
CLIENTS = (1, 4, 16)
ROUNDS = 3
MIX = next(iter(LOADS.values()))


def measure(testbed: str, say: Callable[[str], None]) -> dict[str, dict[str, list[float]]]:
    """Return transactions per second by clients and level, one figure a round."""
    members = [host for host in hosts(testbed) if "postgres" in host.groups]
    proxy = next(host for host in hosts(testbed) if "haproxy" in host.groups)
    password = yaml.safe_load(secrets_file(testbed).read_text())["app"]
    found: dict[str, dict[str, list[float]]] = {}
    try:
        for number in range(ROUNDS):
            for level in LEVELS:
                _deploy(testbed, level)
                pgbench = Pgbench(on, members, proxy, password)
                if number == 0 and level == LEVELS[0]:
                    pgbench.fill()
                for clients in CLIENTS:
                    rate = pgbench.per_second("verify-full", MIX, clients)
                    found.setdefault(str(clients), {}).setdefault(level, []).append(rate)
                    say(f"{level}, {clients} clients: {rate:.0f} per second")
    finally:
        _deploy(testbed, "quorum")
    return found


def _deploy(testbed: str, level: str) -> None:
    command = [sys.executable, "-m", "pyinfra", "inventories/docker.py", "deploy.py", "-y"]
    command += ["--data", f"cluster_durability={level}", *hands.doors(testbed)]
    run(f"the deploy of {level}", command)
    wait_until("a healthy cluster", hands.site(testbed).is_healthy)
