"""Run pyinfra as its command line does, and tell afterwards what it sent to each host.

    python -m bench.counting COUNTS.json [--nodelay] INVENTORY DEPLOY [OPTIONS]

Writes {"host": remote commands} as JSON. `--nodelay` sets TCP_NODELAY on every SSH connection.
"""

import json
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import gevent.monkey

gevent.monkey.patch_all()

import paramiko  # noqa: E402  # gevent must come first, as in pyinfra's own entry point
from pyinfra.api.host import Host  # noqa: E402
from pyinfra_cli.main import main  # noqa: E402

COUNTS: Counter[str] = Counter()


def count(name: str) -> None:
    """Count every call of a method of Host that goes to the remote host."""
    original = getattr(Host, name)

    def counted(self: Host, *arguments: Any, **options: Any) -> Any:
        COUNTS[self.name] += 1
        return original(self, *arguments, **options)

    setattr(Host, name, counted)


def send_at_once() -> None:
    """Turn Nagle's algorithm off for every connection that paramiko opens."""
    original = paramiko.Transport.__init__

    def opened(self: paramiko.Transport, sock: Any, *arguments: Any, **options: Any) -> None:
        original(self, sock, *arguments, **options)
        if isinstance(self.sock, socket.socket):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    paramiko.Transport.__init__ = opened  # type: ignore[method-assign]  # what this is for


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    if sys.argv[1] == "--nodelay":
        sys.argv.pop(1)
        send_at_once()
    for method in ("run_shell_command", "put_file", "get_file"):
        count(method)
    try:
        main()
    finally:
        target.write_text(json.dumps(COUNTS))
