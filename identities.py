"""Who proves to be whom: a key and a certificate for each service's user on each host."""

from dataclasses import dataclass

from certificates import Subject

DIRECTORY = "/etc/pgha"
AUTHORITY = f"{DIRECTORY}/ca.crt"


@dataclass(frozen=True)
class Identity:
    """What `owner`, a service's user, shows to others on the host `host`.

    + dns, addresses: where the service is reached, by name and by address
    """

    owner: str
    host: str
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        return f"{DIRECTORY}/{self.owner}"

    @property
    def key(self) -> str:
        return f"{self.directory}/tls.key"

    @property
    def certificate(self) -> str:
        return f"{self.directory}/tls.crt"

    @property
    def subject(self) -> Subject:
        return Subject(f"{self.owner}@{self.host}", self.dns, self.addresses)
