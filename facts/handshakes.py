"""What a service shows, and whom it believes, when somebody connects: not always what is on disk.

A service may have read a file long before it changed. What it says in a handshake is what it has.
"""

import shlex
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

# No service of a host in health takes as long for a handshake with itself.
SECONDS = 5

# Of what s_client said: one line of the certificate, and below it the names that are asked for.
TELL = r"""
tell() {
  shown=$(printf '%s\n' "$2" | openssl x509 -noout -fingerprint -sha256 2>/dev/null)
  echo "of $1 ${shown:-none}"
  printf '%s\n' "$2" | sed -n '/^Acceptable client certificate CA names/,/^[^=]*$/p'
}
"""


class Handshake(TypedDict):
    """One server: `certificate` is the fingerprint of what it shows, "none" for no answer.

    `authorities`: the names (RFC 4514) of those whose certificates it takes from clients; empty
    where it asks for none, or does not say.
    """

    certificate: str
    authorities: list[str]


class Handshakes(FactBase[dict[str, Handshake] | None]):
    """Return what each port of this host says; "file" is what the certificate's file has.

    + address: where the services listen
    + directory: of the identity that is asked as, and that the services should show
    + ports: with openssl's name of the protocol that is spoken before TLS, "" for none
    """

    @override
    def requires_command(self, address: str, directory: str, ports: dict[int, str]) -> str:
        return "openssl"

    @override
    def command(self, address: str, directory: str, ports: dict[int, str]) -> StringCommand:
        certificate, key = (shlex.quote(f"{directory}/tls.{end}") for end in ("crt", "key"))
        ask = f"timeout {SECONDS} openssl s_client -nameopt RFC2253 -cert {certificate} -key {key}"
        said = {"file": f"cat {certificate}"}
        for port, before in ports.items():
            starttls = f" -starttls {before}" if before else ""
            said[str(port)] = f"{ask} -connect {address}:{port}{starttls} </dev/null"
        told = [f'tell {name} "$({command} 2>/dev/null)"' for name, command in said.items()]
        return StringCommand("\n".join([TELL.strip(), *told, "echo end"]))

    @override
    def process(self, output: list[str]) -> dict[str, Handshake]:
        found: dict[str, Handshake] = {}
        said = Handshake(certificate="none", authorities=[])
        for line in output:
            if line.startswith("of "):
                _, name, certificate = line.split(" ", 2)
                said = found[name] = Handshake(certificate=certificate, authorities=[])
            elif "=" in line:
                said["authorities"].append(line)
        return found
