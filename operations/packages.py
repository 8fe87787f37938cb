"""Packages and where they come from; nothing starts by itself, and versions fit together."""

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.api.exceptions import ConnectError

from cluster import Cluster, Host
from facts.packages import HeldPackages, InstalledPackages
from operations import Commands, config_files
from operations.config_files import File
from operations.peers import ask
from platforms import Platform

# Debian makes and starts a cluster of its own as soon as the server package arrives.
NO_MAIN_CLUSTER = File(
    "/etc/postgresql-common/createcluster.conf",
    "# Written by pgha: Patroni makes the cluster.\ncreate_main_cluster = false\n",
)
APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)
# PGDG signs what it builds for ARM with a key of its own.
PGDG_KEY = "PGDG-RPM-GPG-KEY-$(uname -m | sed -n 's/aarch64/AARCH64-/p')RHEL"
OR_SAY = (
    "|| { echo 'HINT: can the host reach its repositories? packages_source says which have"
    " PostgreSQL, Patroni and etcd.' >&2; exit 1; }"
)
# Where the repository packages look if nobody changes them.
PGDG_YUM = "https://download.postgresql.org/pub/repos/yum"
EPEL = "https://dl.fedoraproject.org/pub/epel"
# EPEL has some of these too, now and then newer than PGDG: with other paths, users and units.
NOT_FROM_EPEL = "postgresql*,patroni*,etcd*,pgbackrest*,pgbouncer*,haproxy*,keepalived*"
# An upgrade of these restarts a service of the cluster, or parts two hosts that must be alike.
OURS = ("postgresql", "patroni", "etcd", "pgbackrest", "pgbouncer", "haproxy", "keepalived")
PGDG_KEYRING = "/usr/share/postgresql-common/pgdg/apt.postgresql.org.asc"

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
        yield from _before_apt(cluster, platform, missing)
        yield StringCommand(f"{APT} update")
        yield StringCommand(f"{APT} install -y --no-install-recommends", *quoted, OR_SAY)
    else:
        yield from _before_dnf(cluster, platform)
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
            "    HINT: install the same version on both, then run this again."
        )
    host.noop(f"pgBackRest is {mine} here and {theirs or 'unknown'} on the repository host")
    yield from ()


def _pgbackrest_of(name: str, platform: Platform) -> str | None:
    known: dict[str, str] = _versions.get(name) or ask(
        name, InstalledPackages, family=platform.family, names=["pgbackrest"]
    )
    return known.get("pgbackrest")


def _before_apt(cluster: Cluster, platform: Platform, missing: list[str]) -> Commands:
    if f"postgresql-{platform.postgresql_version}" in missing:
        yield from config_files.written([NO_MAIN_CLUSTER])
    if "etcd-server" in missing:
        # Its package starts a cluster of one on localhost, whose data would then be in the way.
        yield StringCommand("systemctl mask etcd.service")
    if cluster.packages.source == "pgdg":
        # Debian's and Ubuntu's own package brings PGDG's key: nothing unsigned is ever trusted.
        yield StringCommand(f"{APT} update && {APT} install -y --no-install-recommends"
                            " postgresql-common ca-certificates")  # fmt: skip
        yield from config_files.written([_pgdg_source(cluster, platform)])


def _pgdg_source(cluster: Cluster, platform: Platform) -> File:
    return File(
        "/etc/apt/sources.list.d/pgdg.sources",
        config_files.render(
            "pgdg.sources.j2",
            url=cluster.packages.pgdg_apt_url,
            suite=f"{platform.release}-pgdg",
            keyring=PGDG_KEYRING,
        ),
    )


def _before_dnf(cluster: Cluster, platform: Platform) -> Commands:
    source = cluster.packages.source
    if source == "none":
        return
    release, is_pgdg = platform.release, source == "pgdg"
    epel, pgdg = cluster.packages.epel_url, cluster.packages.pgdg_yum_url
    yield StringCommand("rpm --import", QuoteString(f"{epel}/RPM-GPG-KEY-EPEL-{release}"))
    repositories = [f"{epel}/epel-release-latest-{release}.noarch.rpm"]
    if is_pgdg:
        # AppStream's module of the same name would hide PGDG's packages.
        yield StringCommand("dnf -y -q module disable postgresql")
        yield StringCommand(f"rpm --import {pgdg}/keys/{PGDG_KEY}")
        repositories.append(
            f"{pgdg}/reporpms/EL-{release}-$(uname -m)/pgdg-redhat-repo-latest.noarch.rpm"
        )
    # Patroni's Python dependencies need both EPEL and the distribution's builder repository.
    yield StringCommand(
        "dnf -y -q --setopt=localpkg_gpgcheck=1 install dnf-plugins-core", *repositories
    )
    yield from _by_mirror(epel, pgdg, is_pgdg)
    yield StringCommand(_enable_builder(release))
    if is_pgdg:
        exclude = QuoteString(f"--setopt=epel.excludepkgs={NOT_FROM_EPEL}")
        yield StringCommand("dnf config-manager --save", exclude)
        yield StringCommand(f"dnf config-manager --set-enabled pgdg-rhel{release}-extras")


def _by_mirror(epel: str, pgdg: str, is_pgdg: bool) -> Commands:
    """Point at a mirror what the repository packages brought: they know their origin only."""
    if epel != EPEL:
        yield StringCommand(
            "sed -i -e 's/^metalink=/#&/' -e",
            QuoteString(f"s|^#*baseurl=https\\?://[^/]*/pub/epel/|baseurl={epel}/|"),
            "/etc/yum.repos.d/epel*.repo",
        )
    if is_pgdg and pgdg != PGDG_YUM:
        yield StringCommand(
            "sed -i",
            QuoteString(f"s|^baseurl=https\\?://[^/]*/pub/repos/yum/|baseurl={pgdg}/|"),
            "/etc/yum.repos.d/pgdg-redhat-all.repo",
        )


def _enable_builder(release: str) -> str:
    builder = "powertools" if release == "8" else "crb"
    return (
        '. /etc/os-release; case "$ID" in'
        f" rhel) subscription-manager repos --enable codeready-builder-for-rhel-{release}-"
        "$(uname -m)-rpms;;"
        f" ol) dnf config-manager --set-enabled ol{release}_codeready_builder;;"
        f" *) dnf config-manager --set-enabled {builder};; esac"
    )
