"""Who watches a host as an ordinary user would, and looks for secrets.

What user nobody can read, anybody can. The secrets arrive over stdin, so that the watcher itself
shows none; it goes on until stdin ends, and then prints what it saw.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.e2e import testbed as bed

# Runs on the host; looks about every 20 ms. A file is read again only after it has changed.
WATCH = r"""
import os, select, sys

secrets, seen, known = {}, set(), set()
while line := sys.stdin.buffer.readline().strip():
    name, secret = line.split()
    secrets[name.decode()] = secret

def look(path, what):
    try:
        with open(path, "rb") as file:
            content = file.read(1 << 20)
    except OSError:
        return
    for name, secret in secrets.items():
        if secret in content:
            seen.add(f"{name} in {what}")

def changed(folder):
    for entry in os.scandir(folder):
        try:
            state = entry.stat(follow_symlinks=False)
            is_file = entry.is_file(follow_symlinks=False)
        except OSError:
            continue
        if is_file and (entry.path, state.st_ino, state.st_mtime_ns, state.st_size) not in known:
            known.add((entry.path, state.st_ino, state.st_mtime_ns, state.st_size))
            yield entry.path

print("ready", flush=True)
while not select.select([0], [], [], 0.02)[0]:
    for process in filter(str.isdigit, os.listdir("/proc")):
        look(f"/proc/{process}/cmdline", "a command line")
        look(f"/proc/{process}/environ", "an environment")
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        for path in changed(folder):
            look(path, folder)
print("\n".join(sorted(seen)))
"""


@contextmanager
def watching(secrets: Mapping[str, str]) -> Iterator[dict[str, set[str]]]:
    """Watch all hosts until the block ends; then the result has what was seen on each."""
    found: dict[str, set[str]] = {}
    watchers = {host: _start(host, secrets) for host in bed.HOSTS}
    try:
        yield found
    finally:
        for host, watcher in watchers.items():
            said, _ = watcher.communicate(timeout=60)
            found[host] = set(said.splitlines())
            assert watcher.returncode == 0, f"the watcher of {host} died"


def _start(host: str, secrets: Mapping[str, str]) -> "subprocess.Popen[str]":
    watcher = subprocess.Popen(
        ["docker", "exec", "-i", "-u", "nobody", bed.container(host), "python3", "-c", WATCH],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    watcher.stdin.write("".join(f"{name} {secret}\n" for name, secret in secrets.items()) + "\n")
    watcher.stdin.flush()
    assert watcher.stdout.readline() == "ready\n", f"the watcher of {host} did not start"
    return watcher
