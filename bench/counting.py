"""Run pyinfra as its command line does, and tell afterwards what it sent to each host.

    python -m bench.counting COUNTS.json [--nodelay] INVENTORY DEPLOY [OPTIONS]

Writes {"host": commands and file transfers} as JSON. `--nodelay` sets TCP_NODELAY on every SSH
connection.
"""

import gevent.monkey

if __name__ == "__main__":  # before all other imports, as in pyinfra's own entry point
    gevent.monkey.patch_all()

import json
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
from pyinfra.connectors.ssh import SSHConnector

# A command is a session channel of its own; an upload or a download is one transfer over the SFTP
# channel of its host, whose opening is not counted. What the connector runs around a transfer for
# sudo (cp, rm) goes through its own run_shell_command.
SENDS = ("run_shell_command", "put_file", "get_file")
COUNTS: Counter[str] = Counter()


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of SSHConnector that also counts its calls by host."""

    def call(self: SSHConnector, *arguments: Any, **options: Any) -> Any:
        COUNTS[self.host.name] += 1
        return method(self, *arguments, **options)

    return call


def send_at_once() -> None:
    """Turn Nagle's algorithm off for every connection that paramiko opens."""
    original = paramiko.Transport.__init__

    def opened(self: paramiko.Transport, sock: Any, *arguments: Any, **options: Any) -> None:
        original(self, sock, *arguments, **options)
        if isinstance(self.sock, socket.socket):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    paramiko.Transport.__init__ = opened  # type: ignore[method-assign]  # what this is for


if __name__ == "__main__":
    from pyinfra_cli.main import main

    target = Path(sys.argv.pop(1))
    if sys.argv[1] == "--nodelay":
        sys.argv.pop(1)
        send_at_once()
    for name in SENDS:
        setattr(SSHConnector, name, counted(getattr(SSHConnector, name)))
    try:
        main()
    finally:
        target.write_text(json.dumps(COUNTS))
