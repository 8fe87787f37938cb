"""Who proves to be whom: a key and a certificate for each service's user on each host."""

from dataclasses import dataclass

from certificates import Subject

DIRECTORY = "/etc/pgha"
AUTHORITY = f"{DIRECTORY}/ca.crt"
# How a host asks another one's Patroni, and knows that it is the one.
ASK = f"curl --silent --fail --max-time 5 --cacert {AUTHORITY}"


@dataclass(frozen=True)
class Identity:
    """What `service` shows to others on the host `host`.

    + service: "etcd", "postgres" (Patroni shows the same), "pgbackrest" or "pgbouncer"
    + dns, addresses: where the service is reached, by name and by address
    """

    service: str
    host: str
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def owner(self) -> str:
        """The user that the service runs as."""
        return "postgres" if self.service == "pgbackrest" else self.service

    @property
    def directory(self) -> str:
        return f"{DIRECTORY}/{self.service}"

    @property
    def key(self) -> str:
        return f"{self.directory}/tls.key"

    @property
    def certificate(self) -> str:
        return f"{self.directory}/tls.crt"

    @property
    def subject(self) -> Subject:
        name = f"{self.service}@{self.host}"
        return Subject(name, self.dns, self.addresses, is_common=self.service == "pgbackrest")

    @property
    def common_name(self) -> str:
        """The name by which pgBackRest knows its clients."""
        return self.subject.name
