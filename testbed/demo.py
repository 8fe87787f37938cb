#!/usr/bin/env python3
"""From nothing to a proven cluster on five containers, and a screen to start from."""

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
OPERATION = "--> Starting operation: "
NEWS_SECONDS = 10.0


class StepError(Exception):
    """A step that failed: what it was, and where its output is."""


def main(arguments: Sequence[str]) -> int:
    """Run the steps in order; return the exit status of the first that fails, or 0."""
    started = time.monotonic()
    testbed, nodes = selected()
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
            return 1
        took.append(f"{title.lower()} {time.monotonic() - begun:.0f} s")
    print(shown)
    print(f"Took {time.monotonic() - started:.0f} s: {', '.join(took)}\n")
    print(next_steps(testbed, nodes))
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
        for line in process.stdout or []:
            file.write(line)
            printed.append(line)
            if title in ("Start the containers", "Prove"):
                print(line, end="", flush=True)
        reader.join()
        status = process.wait()
    if status:
        print("".join(log.read_text().splitlines(keepends=True)[-25:]))
        raise StepError(f"its whole output is in {log.relative_to(ROOT)}")
    return "".join(printed)


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


def next_steps(testbed: str, nodes: int) -> str:
    """Return what a newcomer may try, as commands that work as they stand."""
    table = {host.name: host for host in hosts(testbed, nodes)}
    secrets = secrets_file(testbed).relative_to(ROOT)
    proxy, node = table["haproxy"], table["node1"]
    psql = f"psql -h {proxy.address} -p 5000 -U app app"
    return f"""Try next
  the topology, as Patroni sees it
    docker exec -u postgres {node.container} patronictl -c /etc/patroni/config.yml list
  a query through HAProxy, from inside its host (the password: grep ^app {secrets})
    docker exec -it {proxy.container} {psql}
  a failover: kill a host, look who leads, bring it back
    docker kill {node.container}; sleep 40; make demo
  the same deploy again, which changes nothing
    .venv/bin/pyinfra {INVENTORY} deploy.py -y
  an end
    make clean"""


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nstopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
