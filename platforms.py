"""What differs between Debian and Enterprise Linux: packages, paths, unit names. Nowhere else."""

from dataclasses import dataclass
from typing import Literal


class UnsupportedPlatform(Exception):
    """The host runs something this project was not made for."""


@dataclass(frozen=True)
class Platform:
    """Where one operating system keeps what.

    + family: "debian" (Debian, Ubuntu) or "el" (Rocky, AlmaLinux, RHEL)
    + release: Debian's code name, or Enterprise Linux's major version
    """

    family: Literal["debian", "el"]
    release: str
    postgresql_version: int

    @property
    def is_debian(self) -> bool:
        return self.family == "debian"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{'Debian or Ubuntu' if self.is_debian else 'Enterprise Linux'} {self.release}"

    @property
    def etcd_environment(self) -> str:
        return "/etc/default/etcd" if self.is_debian else "/etc/etcd/etcd.conf"

    @property
    def patroni_config(self) -> str:
        return f"/etc/patroni/{'config' if self.is_debian else 'patroni'}.yml"

    @property
    def postgresql_bin(self) -> str:
        if self.is_debian:
            return f"/usr/lib/postgresql/{self.postgresql_version}/bin"
        return f"/usr/pgsql-{self.postgresql_version}/bin"

    @property
    def postgres_home(self) -> str:
        return "/var/lib/postgresql" if self.is_debian else "/var/lib/pgsql"

    @property
    def pgbackrest_config(self) -> str:
        return "/etc/pgbackrest.conf"

    @property
    def chrony_unit(self) -> str:
        return "chrony.service" if self.is_debian else "chronyd.service"

    def packages(self, groups: frozenset[str], in_container: bool) -> tuple[str, ...]:
        """Return the packages that a host in `groups` needs."""
        version = self.postgresql_version
        names = ["firewalld", "procps"] if self.is_debian else ["firewalld"]
        if not in_container:
            names.append("chrony")
        if "etcd" in groups:
            names += ["etcd-server", "etcd-client"] if self.is_debian else ["etcd"]
        if "postgres" in groups:
            names += ["patroni", "pgbackrest"]
            names += self._servers
            if self.is_debian:
                names += ["python3-etcd", "openssh-client", "curl"]
            else:  # curl is there, as curl or as curl-minimal, which exclude each other
                names += ["patroni-etcd", "openssh-clients"]
        if "haproxy" in groups:
            client = f"postgresql-client-{version}" if self.is_debian else f"postgresql{version}"
            names += [
                "haproxy",
                "keepalived",
                "pgbouncer",
                client,
                *(["curl"] if self.is_debian else []),
            ]
        if "pgbackrest" in groups:
            # PostgreSQL's server and amcheck, to rehearse restores with.
            names += ["pgbackrest", *self._servers]
            names.append("openssh-client" if self.is_debian else "openssh-clients")
        return tuple(dict.fromkeys(names))

    @property
    def _servers(self) -> list[str]:
        version = self.postgresql_version
        if self.is_debian:
            return [f"postgresql-{version}"]
        return [f"postgresql{version}-server", f"postgresql{version}-contrib"]


def of(os_release: dict[str, str], postgresql_version: int) -> Platform:
    """Return the platform of a host from its os-release; raises UnsupportedPlatform."""
    families = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    version, code_name = os_release.get("VERSION_ID", ""), os_release.get("VERSION_CODENAME", "")
    if families & {"debian", "ubuntu"} and code_name:
        return Platform("debian", code_name, postgresql_version)
    if families & {"rhel", "centos", "fedora"} and version.split(".")[0] in ("8", "9"):
        return Platform("el", version.split(".")[0], postgresql_version)
    name = os_release.get("PRETTY_NAME") or os_release.get("ID") or "an unknown system"
    raise UnsupportedPlatform(name)
