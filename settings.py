"""What each setting may be: one model per component, filled from pyinfra's flat, prefixed names.

The values stand in group_data/all.py; this page holds their bounds and meaning, and the rules
between them; description.py reads them. Those of backups stand in backup_settings.py. None of this
knows pyinfra or does I/O.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from backup_settings import Pgbackrest
from setting_types import (
    AbsolutePath,
    Component,
    Identifier,
    Port,
    RepositoryUrl,
    SettingsError,
    Url,
)


class General(Component):
    """What belongs to the cluster as a whole."""

    prefix: ClassVar[str] = "cluster_"

    # Patroni, etcd and pgBackRest each take more; this is what all three take.
    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,49}$",
        description="lower-case letters, digits and dashes, a letter first, 50 characters at most",
    )
    client_networks: tuple[IPv4Network, ...] = Field(
        min_length=1,
        description="a list of networks, each by its first address, such as 10.0.0.0/8",
    )
    durability: Literal["quorum", "strict", "async"] = Field(
        description="quorum, strict or async: what a commit waits for"
    )
    timing: Literal["fast", "relaxed"] = Field(
        description="fast or relaxed: how soon a fault is noticed"
    )


class Tls(Component):
    """How long what the cluster's own authority signs is valid."""

    prefix: ClassVar[str] = "tls_"

    certificate_days: int = Field(ge=2, le=825, description="2 to 825 days")
    authority_days: int = Field(ge=30, le=36500, description="30 to 36500 days")

    @model_validator(mode="after")
    def authority_outlives_certificates(self) -> Self:
        if self.authority_days <= self.certificate_days:
            raise ValueError(
                f"tls_authority_days ({self.authority_days}) must be more than "
                f"tls_certificate_days ({self.certificate_days})"
            )
        return self


class Packages(Component):
    """Where packages come from."""

    prefix: ClassVar[str] = "packages_"

    source: Literal["pgdg", "distribution", "none"] = Field(
        description="pgdg, distribution or none (what the hosts' own repositories have)"
    )
    pgdg_apt_url: Url
    pgdg_yum_url: RepositoryUrl
    epel_url: RepositoryUrl
    locked: bool = Field(description="hold the versions of what is installed until unlocked")


class Etcd(Component):
    """etcd's ports and its pace."""

    prefix: ClassVar[str] = "etcd_"
    group: ClassVar[str] = "etcd"

    client_port: Port
    peer_port: Port
    data_dir: AbsolutePath
    heartbeat_ms: int = Field(
        ge=10, le=5000, description="10 to 5000 ms, about the round trip between members"
    )
    election_ms: int = Field(
        ge=50, le=50000, description="50 to 50000 ms (etcd's limit), five to fifty heartbeats"
    )
    quota_mib: int = Field(
        ge=64, le=8192, description="64 to 8192 MiB (etcd advises 8 GiB at most)"
    )
    compaction_retention: str = Field(
        pattern=r"^\d+[mh]$", description="minutes or hours, such as 1h or 30m"
    )

    @model_validator(mode="after")
    def election_outlasts_heartbeats(self) -> Self:
        if self.election_ms < 5 * self.heartbeat_ms:
            raise SettingsError(
                f"etcd_election_ms ({self.election_ms}) is less than five times "
                f"etcd_heartbeat_ms ({self.heartbeat_ms}): etcd refuses to start",
                "change one of them.",
            )
        return self


class Patroni(Component):
    """Patroni's pace; its lower limits are Patroni's own, which raises less without a word."""

    prefix: ClassVar[str] = "patroni_"
    group: ClassVar[str] = "postgres"

    rest_port: Port
    namespace: str = Field(
        pattern=r"^/[a-z0-9-]+/$", description="a prefix of etcd's keys, such as /service/"
    )
    ttl: int = Field(
        ge=20, le=600, description="20 to 600 seconds, for which a lost primary keeps the lead"
    )
    loop_wait: int = Field(ge=1, le=300, description="1 to 300 seconds between two looks")
    retry_timeout: int = Field(
        ge=3, le=300, description="3 to 300 seconds, for which etcd is asked again"
    )
    maximum_lag_on_failover: int = Field(
        ge=0, description="a number of bytes, 0 or more, which a replica may lack (async only)"
    )

    @model_validator(mode="after")
    def loop_fits_into_ttl(self) -> Self:
        needed = self.loop_wait + 2 * self.retry_timeout
        if needed >= self.ttl:
            raise SettingsError(
                f"patroni_loop_wait + 2*patroni_retry_timeout is {needed} s, not less than "
                f"patroni_ttl ({self.ttl} s): a slow etcd would cost a failover",
                "change one of them.",
            )
        return self


# Set by this project or by Patroni; a second value would be ignored or break the cluster.
OWNED_PARAMETERS = frozenset(
    {
        "archive_command",
        "archive_mode",
        "cluster_name",
        "hot_standby",
        "listen_addresses",
        "max_slot_wal_keep_size",
        "password_encryption",
        "port",
        "primary_conninfo",
        "primary_slot_name",
        "restore_command",
        "ssl",
        "ssl_ca_file",
        "ssl_cert_file",
        "ssl_key_file",
        "ssl_min_protocol_version",
        "synchronous_standby_names",
        "unix_socket_directories",
        "wal_level",
    }
)


class Postgresql(Component):
    """PostgreSQL as every member runs it."""

    prefix: ClassVar[str] = "postgresql_"
    group: ClassVar[str] = "postgres"

    version: Literal[17, 18] = Field(description="17 or 18 (the builtin C.UTF-8 locale needs 17)")
    port: Port
    data_dir: AbsolutePath
    client_networks: tuple[IPv4Network, ...] = Field(
        description="a list of networks that may pass by HAProxy, such as 10.1.0.0/16, or []"
    )
    minimum_free_mib: int = Field(
        ge=0, description="a number of MiB that a bare host must have free for the data, 0 or more"
    )
    max_slot_wal_keep_mib: int = Field(
        ge=64,
        le=2147483647,  # PostgreSQL's own limit
        description="a number of MiB of WAL, 64 or more, that are kept for a replica that is away",
    )
    parameters: dict[str, str | int | float | bool] = Field(
        description="names with values as in postgresql.conf: text, numbers, True or False"
    )

    @field_validator("parameters")
    @classmethod
    def leaves_our_parameters_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OWNED_PARAMETERS & {name.lower() for name in value}):
            raise SettingsError(
                f"postgresql_parameters must not set {taken[0]}: it follows from the rest",
                "remove it there.",
            )
        return value


RESERVED_ROLES = frozenset({"postgres", "replicator", "rewind_user", "pgbouncer", "public", "none"})
RESERVED_DATABASES = frozenset({"postgres", "template0", "template1"})


class App(Component):
    """The first application's role and database."""

    prefix: ClassVar[str] = "app_"
    group: ClassVar[str] = "postgres"

    role: Identifier
    database: Identifier

    @model_validator(mode="after")
    def is_nobody_elses(self) -> Self:
        if self.role in RESERVED_ROLES or self.role.startswith("pg_"):
            raise SettingsError(
                f"app_role cannot be {self.role}: that role has another purpose",
                "choose another name.",
            )
        if self.database in RESERVED_DATABASES:
            raise SettingsError(
                f"app_database cannot be {self.database}: PostgreSQL needs it itself",
                "choose another name.",
            )
        return self


class Haproxy(Component):
    """HAProxy's ports and its pace."""

    prefix: ClassVar[str] = "haproxy_"
    group: ClassVar[str] = "haproxy"

    rw_port: Port
    ro_port: Port
    stats_port: Port
    check_ms: int = Field(
        ge=100, le=60000, description="100 to 60000 ms between two questions who is who"
    )
    virtual_ip: str | None = Field(
        description="an IPv4 address that no host has, such as 10.0.0.30, or None"
    )
    ro_maximum_lag_mib: int = Field(
        ge=1, description="1 MiB or more of WAL, which a replica that is read from may lack"
    )
    ro_fallback: Literal["leader", "none"] = Field(
        description="leader or none: who is read from when no replica is left"
    )
    max_connections: int = Field(ge=10, le=1_000_000, description="10 to 1000000 connections")

    @field_validator("virtual_ip")
    @classmethod
    def virtual_ip_is_an_address(cls, value: str | None) -> str | None:
        return value if value is None else str(IPv4Address(value))


class Pgbouncer(Component):
    """The pooled port of the HAProxy hosts."""

    prefix: ClassVar[str] = "pgbouncer_"
    group: ClassVar[str] = "haproxy"

    port: Port
    pool_size: int = Field(
        ge=1, le=10000, description="1 to 10000 connections of each database and role"
    )


class Verify(Component):
    """Bounds and form of the proofs."""

    prefix: ClassVar[str] = "verify_"

    maximum_lag_mib: int = Field(ge=1, description="a number of MiB, 1 or more")
    maximum_backup_hours: int = Field(ge=1, description="a number of hours, 1 or more")
    maximum_proof_days: int = Field(ge=1, description="a number of days, 1 or more")
    maximum_waiting_mib: int = Field(ge=1, description="a number of MiB, 1 or more")
    maximum_waiting_minutes: int = Field(ge=1, description="a number of minutes, 1 or more")
    format: Literal["table", "json"] = Field(description="table or json")


COMPONENTS: tuple[type[Component], ...] = (
    General,
    Tls,
    Packages,
    Etcd,
    Patroni,
    Postgresql,
    App,
    Haproxy,
    Pgbouncer,
    Pgbackrest,
    Verify,
)
# Names without a component: where the secrets are, which of them are meant (show_secrets and
# rotate_passwords), which phases run, who shall lead (switchover), where to go back to, from which
# repository, and whose name was typed for that (restore), what of it and whether it is loaded
# (restore_table), whether an empty cluster is meant beside backups of one, whose new host keys are
# accepted, where a host is.
OTHER_NAMES = frozenset(
    {
        "secrets_file",
        "secrets_command",
        "secret",
        "secrets",
        "phases",
        "candidate",
        "target",
        "repository",
        "database",
        "tables",
        "load",
        "bootstrap",
        "backups",
        "confirm",
        "ssh_trust_replaced",
        "address",
    }
)
KNOWN_NAMES = OTHER_NAMES | {c.prefix + field for c in COMPONENTS for field in c.model_fields}
