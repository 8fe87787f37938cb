"""Which certificate a service shows to whoever connects: not always the one on the disk."""

import shlex

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

# No service of a host in health takes as long for a handshake with itself.
SECONDS = 5


class OutdatedServers(FactBase[list[int] | None]):
    """Return the ports whose server shows another certificate than the file's.

    + certificate: path of the file
    + address: where the servers listen
    + ports: with openssl's name of the protocol that is spoken before TLS, "" for none

    A port where nobody answers is not among them: what starts later reads the file.
    """

    @override
    def requires_command(self, certificate: str, address: str, ports: dict[int, str]) -> str:
        return "openssl"

    @override
    def command(self, certificate: str, address: str, ports: dict[int, str]) -> StringCommand:
        asked = [
            f"s_client -connect {address}:{port}{f' -starttls {before}' if before else ''}"
            for port, before in ports.items()
        ]
        return StringCommand(
            "print() { openssl x509 -noout -fingerprint -sha256 2>/dev/null || echo none; };"
            f" print 2>/dev/null <{shlex.quote(certificate)} || echo none;"
            + "".join(
                f" timeout {SECONDS} openssl {words} </dev/null 2>/dev/null | print;"
                for words in asked
            )
            + f" echo {' '.join(map(str, ports))}"
        )

    @override
    def process(self, output: list[str]) -> list[int]:
        of_file, *of_servers, ports = output
        return [
            int(port)
            for port, shown in zip(ports.split(), of_servers, strict=True)
            if shown not in ("none", of_file)
        ]
