"""The keys and certificates of a host's services; a key never leaves the host."""

import shlex
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from identities import AUTHORITY


class Shown(TypedDict):
    """One identity: a request for a certificate made with its key, and the certificate, as PEM.

    Both are "" where there is none; `access` is the key's mode and owner, such as "600 etcd".
    """

    request: str
    certificate: str
    access: str


class Identities(FactBase[dict[str, Shown] | None]):
    """Return what is there of each identity, by its directory.

    + directories: with a tls.key and a tls.crt in each
    """

    @override
    def command(self, directories: list[str]) -> StringCommand:
        return StringCommand(
            f"for dir in {' '.join(map(shlex.quote, directories))}; do"
            ' echo "identity $dir"; if [ -s "$dir/tls.key" ]; then'
            ' echo "access $(stat -c "%a %U" "$dir/tls.key")";'
            ' openssl req -new -key "$dir/tls.key" -subj /CN=pgha; fi;'
            ' if [ -f "$dir/tls.crt" ]; then cat "$dir/tls.crt"; fi; done; echo end'
        )

    @override
    def process(self, output: list[str]) -> dict[str, Shown]:
        found: dict[str, Shown] = {}
        shown = Shown(request="", certificate="", access="")
        part = "request"
        for line in output:
            word, _, rest = line.partition(" ")
            if word == "identity":
                shown = found[rest] = Shown(request="", certificate="", access="")
            elif word == "access":
                shown["access"] = rest
            elif line != "end":
                if line.startswith("-----BEGIN"):
                    part = "request" if "REQUEST" in line else "certificate"
                shown[part] += f"{line}\n"  # type: ignore[literal-required]  # one of the two
        return found


class TrustedAuthorities(FactBase[str | None]):
    """Return the certificates of all whom a host believes, as PEM; "" before it has any."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(f"if [ -e {AUTHORITY} ]; then cat {AUTHORITY}; fi; echo end")

    @override
    def process(self, output: list[str]) -> str:
        return "".join(f"{line}\n" for line in output[:-1])
