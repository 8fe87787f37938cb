#!/usr/bin/env python3
"""From nothing to a proven cluster on six containers, and a screen to start from."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if __name__ == "__main__":  # a script finds its own folder only, not the project
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from testbed.hosts import STATE, hosts, secrets_file, selected

ROOT = Path(__file__).resolve().parent.parent
INVENTORY = "inventories/docker.py"
DEFAULT_TESTBED = "pgha"
OPERATION = "--> Starting operation: "
# What makes a client check whom it speaks to; every host has the authority's certificate there.
VERIFIED = "?sslmode=verify-full&sslrootcert=/etc/pgha/ca.crt"
NEWS_SECONDS = 10.0
STOP_SECONDS = 3.0


class StepError(Exception):
    """A step that failed: where its output is, and its exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def main(arguments: Sequence[str]) -> int:
    """Run the steps in order; return the exit status of the first that fails, or 0."""
    started = time.monotonic()
    try:
        testbed, nodes = selected()
    except ValueError as error:
        print(f"error: {error}\n    HINT: unset it to get the default.", file=sys.stderr)
        return 1
    steps: list[tuple[str, list[str]]] = [
        ("Start the containers", ["testbed/testbed.py", "up", *arguments]),
        ("Deploy", ["-m", "pyinfra", INVENTORY, "deploy.py", "-y"]),
        ("Prove", ["-m", "pyinfra", INVENTORY, "verify.py", "-y"]),
        ("Show", ["-m", "pyinfra", INVENTORY, "day2/status.py", "-y"]),
    ]
    took, shown = [], ""
    for title, command in steps:
        begun = time.monotonic()
        print(f"\n== {title} ==", flush=True)
        try:
            shown = run(title, command, STATE / testbed)
        except StepError as error:
            print(f"\n{title} failed\n    HINT: {error}", file=sys.stderr)
            return error.status
        took.append(f"{title.lower()} {time.monotonic() - begun:.0f} s")
    print(shown)
    print(f"Took {time.monotonic() - started:.0f} s: {', '.join(took)}\n")
    print(next_steps(testbed, nodes, primary_in(shown)))
    return 0


def run(title: str, command: list[str], logs: Path) -> str:
    """Run one step with its progress in sight, and return what it printed on stdout."""
    log = logs / f"{title.lower().replace(' ', '-')}.log"
    logs.mkdir(parents=True, exist_ok=True)
    printed: list[str] = []
    with log.open("w") as file, heartbeat() as news:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, text=True,
            env={**os.environ, "PYINFRA_PROGRESS": "off"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        reader = threading.Thread(target=_read, args=(process.stderr, file, news), daemon=True)
        reader.start()
        try:
            for line in process.stdout or []:
                file.write(line)
                printed.append(line)
                if title in ("Start the containers", "Prove"):
                    print(line, end="", flush=True)
            reader.join()
            status = process.wait()
        except KeyboardInterrupt:
            _end(process)
            raise
    if status:
        print("".join(log.read_text().splitlines(keepends=True)[-25:]))
        raise StepError(f"its whole output is in {log.relative_to(ROOT)}", status)
    return "".join(printed)


def _end(process: "subprocess.Popen[str]") -> None:
    """Return once the process is gone: Ctrl-C reached it too, but pyinfra may wait on for ever."""
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def _read(lines: IO[str], file: IO[str], news: list[str]) -> None:
    """Keep pyinfra's log, and show the operation it is at."""
    for line in lines:
        file.write(line)
        if line.startswith(OPERATION):
            operation = line.removeprefix(OPERATION).strip()
            news[:] = [operation]
            if not operation.startswith("=="):
                print(f"   {operation}", flush=True)


@contextmanager
def heartbeat() -> Iterator[list[str]]:
    """Say now and then what is still going on: nobody should wonder whether it hangs."""
    news: list[str] = []
    done = threading.Event()

    def beat() -> None:
        waited, last = 0.0, ""
        while not done.wait(NEWS_SECONDS):
            current = news[0] if news else ""
            waited = waited + NEWS_SECONDS if current == last else NEWS_SECONDS
            last = current
            if current:
                print(f"   ... {current} ({waited:.0f} s)", flush=True)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield news
    finally:
        done.set()
        thread.join()


def next_steps(testbed: str, nodes: int, primary: str) -> str:
    """Return what a newcomer may try, as commands that work as they stand."""
    table = {host.name: host for host in hosts(testbed, nodes)}
    proxy, leader = table["haproxy"], table[primary]
    witness = next((h for h in table.values() if "postgres" in h.groups and h != leader), leader)
    chosen = f"PGHA_TESTBED={testbed} " if testbed != DEFAULT_TESTBED else ""
    secrets = secrets_file(testbed).relative_to(ROOT)
    return f"""Try next
  a query through HAProxy, from inside its host, encrypted and with the server's certificate checked
    PGPASSWORD=$(sed -n 's/^app: //p' {secrets}) docker exec -it -e PGPASSWORD \\
      {proxy.container} psql "postgresql://app@{proxy.address}:5000/app{VERIFIED}"
  a failover: kill the primary, look who leads, bring it back
    docker kill {leader.container}; sleep 40
    docker exec -u postgres {witness.container} patronictl list
    {chosen}make demo
  the same deploy again, which changes nothing
    {chosen}.venv/bin/pyinfra {INVENTORY} deploy.py -y
  an end
    make clean"""


def primary_in(screen: str) -> str:
    """Return the member that the screen shows as the primary, or the first where none leads."""
    rows = (line.split() for line in screen.splitlines())
    return next((row[0] for row in rows if row[2:3] == ["primary"]), "node1")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nstopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
