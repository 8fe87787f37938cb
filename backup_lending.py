"""Two clusters and one repository: who may read it to make a clone, and which one a clone reads."""

from ipaddress import IPv4Address
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from setting_types import Port

StanzaName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,49}$")]
PublicKey = Annotated[
    str, Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+=*$")
]


class Reader(BaseModel):
    """A host of another cluster that may read this repository.

    + name: as the key is marked
    + address: the one that it calls from
    + key: the public key of its user postgres
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
    address: IPv4Address
    key: PublicKey


class Source(BaseModel):
    """Another cluster's repository, which this one may be a clone from.

    + stanza: the other cluster's name
    + address: of its repository host
    + host_key: the public SSH key of that host
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stanza: StanzaName
    address: IPv4Address
    ssh_port: Port = 22
    host_key: PublicKey

    @property
    def known_host(self) -> str:
        """Return the line of known_hosts that pins it."""
        where = f"{self.address}" if self.ssh_port == 22 else f"[{self.address}]:{self.ssh_port}"
        return f"{where} {self.host_key}"

    @property
    def shown(self) -> str:
        return f"{self.stanza} at {self.address}"
