"""Where packages come from: PGDG's repositories, EPEL, or a mirror of theirs."""

from pyinfra.api import QuoteString, StringCommand

from cluster import Cluster
from operations import Commands, config_files
from operations.config_files import File
from platforms import Platform

# Debian makes and starts a cluster of its own as soon as the server package arrives.
NO_MAIN_CLUSTER = File(
    "/etc/postgresql-common/createcluster.conf",
    "# Written by pgha: Patroni makes the cluster.\ncreate_main_cluster = false\n",
)
# Another apt is waited for, ten minutes or so: of a host's first daily update, or of a run that was
# killed. By itself apt waits for dpkg's lock only, not for those of its lists and of its cache.
APT = (
    "apt() { for turn in $(seq 300); do"
    " said=$(LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600"
    ' -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" 2>&1)'
    ' && { echo "$said"; return; };'
    ' case $said in *"Could not get lock"*) sleep 1;; *) break;; esac;'
    ' done; echo "$said" >&2; return 1; };'
)
# PGDG signs what it builds for ARM with a key of its own.
PGDG_KEY = "PGDG-RPM-GPG-KEY-$(uname -m | sed -n 's/aarch64/AARCH64-/p')RHEL"
# Where the repository packages look if nobody changes them.
PGDG_YUM = "https://download.postgresql.org/pub/repos/yum"
EPEL = "https://dl.fedoraproject.org/pub/epel"
# EPEL has some of these too, now and then newer than PGDG: with other paths, users and units.
NOT_FROM_EPEL = "postgresql*,patroni*,etcd*,pgbackrest*,pgbouncer*,haproxy*,keepalived*"
PGDG_KEYRING = "/usr/share/postgresql-common/pgdg/apt.postgresql.org.asc"


def before_apt(cluster: Cluster, platform: Platform, missing: list[str]) -> Commands:
    """Keep packages from starting anything, and add PGDG's repository."""
    if f"postgresql-{platform.postgresql_version}" in missing:
        yield from config_files.written([NO_MAIN_CLUSTER])
    if "etcd-server" in missing:
        # Its package starts a cluster of one on localhost, whose data would then be in the way.
        yield StringCommand("systemctl mask etcd.service")
    if cluster.packages.source == "pgdg":
        # Debian's and Ubuntu's own package brings PGDG's key: nothing unsigned is ever trusted.
        yield StringCommand(f"{APT} apt update && apt install -y --no-install-recommends"
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


def before_dnf(cluster: Cluster, platform: Platform) -> Commands:
    """Add EPEL, PGDG and what they need, with their keys, and let neither hide the other."""
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
