"""Which hosts a testbed has, at which addresses, in which groups: said here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUBNETS = {
    "pgha": "172.30.18",
    "pgha-test": "172.30.19",
    "pgha-bench": "172.30.20",
    "pgha-copy": "172.30.21",
}
MAX_NODES = 15
ETCD_MEMBERS = 3
# Debian forky, made here or pulled: the one that has PostgreSQL 18 and all the rest.
OWN_BASE, REGISTRY_BASE = "pgha-base", "debian:forky"
# Look-alikes of Enterprise Linux, made on top of it (el/README.md), and where they keep a mirror.
LOOK_ALIKES, MIRROR = ("el8", "el9"), "file:///srv/mirror"


@dataclass(frozen=True)
class Host:
    """One host of a testbed; a host without groups stands outside the cluster."""

    name: str
    address: str
    container: str
    groups: tuple[str, ...] = ()


def hosts(testbed: str, nodes: int = 3) -> list[Host]:
    """Return the hosts of the cluster in a testbed, in the order of their addresses."""
    table: list[tuple[str, int, tuple[str, ...]]] = [
        (f"node{i}", 10 + i, ("etcd", "postgres") if i <= ETCD_MEMBERS else ("postgres",))
        for i in range(1, nodes + 1)
    ]
    table += [("haproxy", 31, ("haproxy",)), ("haproxy2", 32, ("haproxy",))]
    table += [("pgbackrest", 41, ("pgbackrest",))]
    return [_host(testbed, name, last, groups) for name, last, groups in table]


def outsider(testbed: str) -> Host:
    """Return the host that belongs to no cluster: tests knock on the firewall from there."""
    return _host(testbed, "outsider", 61, ())


def _host(testbed: str, name: str, last: int, groups: tuple[str, ...]) -> Host:
    return Host(name, f"{SUBNETS[testbed]}.{last}", f"{testbed}-{name}", groups)


def virtual_ip(testbed: str) -> str:
    """Return the address that the HAProxy hosts of a testbed share."""
    return f"{SUBNETS[testbed]}.30"


def subnet(testbed: str) -> str:
    """Return the network that belongs to a testbed, as CIDR."""
    return f"{SUBNETS[testbed]}.0/24"


def selected(environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Return the testbed name and its number of database nodes that the environment asks for."""
    testbed = environment.get("PGHA_TESTBED", "pgha")
    if testbed not in SUBNETS:
        raise ValueError(f"PGHA_TESTBED must be one of {', '.join(SUBNETS)}, not {testbed!r}")
    nodes = environment.get("PGHA_NODES", "3")
    if nodes not in map(str, range(1, MAX_NODES + 1)):
        raise ValueError(f"PGHA_NODES must be a number from 1 to {MAX_NODES}, not {nodes!r}")
    return testbed, int(nodes)


STATE = Path(__file__).resolve().parent / ".state"


def ssh_key(testbed: str) -> Path:
    """Return where the private key lives that opens the hosts of a testbed."""
    return STATE / testbed / "id_ed25519"


def known_hosts(testbed: str) -> Path:
    """Return where the host keys of a testbed are pinned."""
    return STATE / testbed / "known_hosts"


def secrets_file(testbed: str) -> Path:
    """Return where the passwords of the cluster on a testbed are kept."""
    return STATE / testbed / "secrets.yml"


def base_file(testbed: str) -> Path:
    """Return where it is noted which base image the containers of a testbed stand on."""
    return STATE / testbed / "base"


def base_of(testbed: str) -> str | None:
    """Return the base image that the containers of a testbed stand on; None without any."""
    file = base_file(testbed)
    return file.read_text() if file.exists() else None


def distribution_suffices(testbed: str) -> bool:
    """Say whether the distribution in a testbed carries the whole stack, PostgreSQL 18 among it."""
    return base_of(testbed) in (None, OWN_BASE, REGISTRY_BASE)


def mirror_of(testbed: str) -> str | None:
    """Return where the hosts of a testbed have a mirror of PGDG and EPEL; None without one."""
    return MIRROR if base_of(testbed) in LOOK_ALIKES else None
