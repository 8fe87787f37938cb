"""Packages and where they come from; nothing starts by itself, and versions fit together."""

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.api.exceptions import ConnectError

from cluster import Cluster, Host
from facts.packages import HeldPackages, InstalledPackages
from operations import Commands, repositories
from operations.peers import ask
from platforms import Platform

OR_SAY = (
    "|| { echo 'HINT: can the host reach its repositories? packages_source says which have"
    " PostgreSQL, Patroni and etcd.' >&2; exit 1; }"
)
# An upgrade of these restarts a service of the cluster, or parts two hosts that must be alike.
OURS = ("postgresql", "patroni", "etcd", "pgbackrest", "pgbouncer", "haproxy", "keepalived")

# Versions that `installed` saw in this run, by host, where nothing was missing.
_versions: dict[str, dict[str, str]] = {}


def deploy(cluster: Cluster, here: Host, platform: Platform, in_container: bool) -> None:
    """Install what this host needs, and refuse versions that do not fit together."""
    names = list(platform.packages(here.groups, in_container))
    installed(name="Install packages", cluster=cluster, platform=platform, names=names)
    if cluster.packages.locked:
        locked(name="Lock versions", platform=platform, names=names)
    if here.is_postgres:
        same_pgbackrest(
            name="Compare pgBackRest versions", cluster=cluster, here=here, platform=platform
        )


@operation()
def installed(cluster: Cluster, platform: Platform, names: list[str]) -> Commands:
    """
    Install the packages that are missing; those that are there keep their version.

    + cluster: the whole cluster (its packages settings)
    + platform: of this host
    + names: of the packages

    **Example:**

    .. code:: python

        packages.installed(name="Install", cluster=cluster, platform=platform, names=["haproxy"])
    """
    _versions.pop(host.name, None)
    found = host.get_fact(InstalledPackages, family=platform.family, names=names)
    missing = [name for name in names if name not in found]
    if not missing:
        _versions[host.name] = found
        host.noop("all packages are installed")
        return
    quoted = [QuoteString(name) for name in missing]
    if platform.is_debian:
        yield from repositories.before_apt(cluster, platform, missing)
        yield StringCommand(f"{repositories.APT} apt update")
        yield StringCommand(
            f"{repositories.APT} apt install -y --no-install-recommends", *quoted, OR_SAY
        )
    else:
        yield from repositories.before_dnf(cluster, platform)
        yield StringCommand("dnf -y -q install", *quoted, OR_SAY)


@operation()
def locked(platform: Platform, names: list[str]) -> Commands:
    """
    Keep the cluster's packages at their versions; who wants another one unlocks it first.

    + platform: of this host
    + names: of the packages of this host, the cluster's own and others

    **Example:**

    .. code:: python

        packages.locked(name="Lock versions", platform=platform, names=["haproxy"])
    """
    held = host.get_fact(HeldPackages, family=platform.family)
    loose = [name for name in names if name.startswith(OURS) and name not in held]
    if not loose:
        host.noop("the versions are locked")
        return
    quoted = [QuoteString(name) for name in loose]
    if platform.is_debian:
        yield StringCommand("apt-mark hold", *quoted)
    else:
        yield StringCommand("dnf -y -q install python3-dnf-plugin-versionlock", OR_SAY)
        yield StringCommand("dnf -q versionlock add", *quoted)


@operation()
def same_pgbackrest(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Refuse a pgBackRest of another version than the repository host's: they could not talk.

    + cluster: the whole cluster
    + here: this database host
    + platform: of this host

    **Example:**

    .. code:: python

        packages.same_pgbackrest(name="Compare", cluster=cluster, here=here, platform=platform)
    """
    mine = _pgbackrest_of(here.name, platform)
    try:
        theirs = _pgbackrest_of(cluster.repository.name, platform)
    except ConnectError:  # away: its next deploy compares
        theirs = None
    if mine and theirs and mine != theirs:
        raise OperationError(
            f"pgBackRest is {mine} on {here.name} and {theirs} on {cluster.repository.name}\n"
            '    HINT: install the same version on both (docs/operations.md, "Upgrade packages").'
        )
    host.noop(f"pgBackRest is {mine} here and {theirs or 'unknown'} on the repository host")
    yield from ()


def _pgbackrest_of(name: str, platform: Platform) -> str | None:
    known: dict[str, str] = _versions.get(name) or ask(
        name, InstalledPackages, family=platform.family, names=["pgbackrest"]
    )
    return known.get("pgbackrest")
