"""The SSH keys of the postgres user and of the host, read over the connection that deploys."""

import shlex
from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override


class Keys(TypedDict):
    """Public keys and trust files, line by line; `public_key` is "" before it is made."""

    public_key: str
    host_keys: list[str]
    authorized_keys: list[str]
    known_hosts: list[str]


class SshKeys(FactBase[Keys | None]):
    """Return the postgres user's public key and trust files, and the host's public keys.

    + home: home directory of the postgres user
    """

    @override
    def command(self, home: str) -> StringCommand:
        ssh = shlex.quote(f"{home}/.ssh")
        return StringCommand(
            f"cd {ssh} 2>/dev/null || cd /;"
            " for file in id_ed25519.pub id_ecdsa.pub authorized_keys known_hosts"
            " /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ecdsa_key.pub"
            # All of them: ssh itself would add those it learns later (UpdateHostKeys).
            " /etc/ssh/ssh_host_rsa_key.pub; do"
            ' if [ -f "$file" ]; then sed -e "s|^|$file |" -e "\\$a\\\\" "$file"; fi; done;'
            " echo end"
        )

    @override
    def process(self, output: list[str]) -> Keys:
        keys = Keys(public_key="", host_keys=[], authorized_keys=[], known_hosts=[])
        for line in output:
            file, _, text = line.partition(" ")
            if file in ("authorized_keys", "known_hosts"):
                keys[file].append(text)  # type: ignore[literal-required]  # it is one of the two
            elif file.startswith("/etc/ssh/"):
                keys["host_keys"].append(" ".join(text.split()[:2]))
            elif file.startswith("id_") and not keys["public_key"]:
                keys["public_key"] = " ".join(text.split()[:2])
        return keys
