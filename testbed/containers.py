"""Make, start, reach and remove the containers of a testbed."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from testbed.engine import TestbedError, apt_install, can_install, docker, say
from testbed.hosts import Host, known_hosts, ssh_key, subnet

T = TypeVar("T")

LABEL = "pgha.testbed"
_READY_SECONDS = 120
_PARALLEL = 8

# systemd mounts, firewalld and keepalived set up the network: these two capabilities without
# confinement are enough. --privileged is refused by engines that lack a capability themselves.
# PostgreSQL keeps its shared memory in /dev/shm, where Docker's 64 MB are soon used up.
_RUN_FLAGS = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "label=disable"),
    *("--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/run/lock"),
    *("--stop-signal", "SIGRTMIN+3", "--shm-size", "256m"),
)

# One round trip: while systemd starts, only its state; then let the key in, show the host keys.
_WELCOME = """
state=$(systemctl is-system-running 2>/dev/null)
echo "${state:-offline}"
case $state in running | degraded) ;; *) exit 0 ;; esac
home=/home/deploy/.ssh
[ -d $home ] || install -d -m 700 -o deploy -g deploy $home
grep -qxF "$1" $home/authorized_keys 2>/dev/null || echo "$1" >>$home/authorized_keys
cat /etc/ssh/ssh_host_*_key.pub
"""


def states(testbed: str) -> dict[str, str]:
    """Return the containers of a testbed and what each is doing."""
    shown = docker(
        *("ps", "--all", "--filter", f"label={LABEL}={testbed}"),
        *("--format", "{{.Names}} {{.State}}"),
    )
    return dict(line.split() for line in shown.splitlines())


def of_another_image(testbed: str, image: str) -> list[str]:
    """Return the containers of a testbed that were made from another or an older image."""
    shown = docker(
        *("ps", "--all", "--filter", f"label={LABEL}={testbed}"),
        *("--format", "{{.Names}} {{.Image}}"),
    )
    pairs = (line.split() for line in shown.splitlines())
    return sorted(name for name, made_from in pairs if made_from != image)


def ensure_network(testbed: str) -> None:
    """Return once the testbed has its network."""
    if testbed in _networks(testbed):
        return
    say(f"make the network {testbed}, {subnet(testbed)}")
    docker(
        *("network", "create", "--subnet", subnet(testbed)),
        *("--label", f"{LABEL}={testbed}", testbed),
    )


def _networks(testbed: str) -> list[str]:
    return docker(
        *("network", "ls", "--filter", f"label={LABEL}={testbed}", "--format", "{{.Name}}")
    ).split()


def ensure_running(testbed: str, wanted: Sequence[Host], image: str) -> None:
    """Return once every wanted container exists and runs; those that run are left alone."""
    now = states(testbed)
    idle = [host for host in wanted if now.get(host.container) != "running"]

    def start(host: Host) -> str:
        state = now.get(host.container)
        if state is None:
            docker(*_run_command(testbed, host, image))
            return f"made {host.container} at {host.address}"
        docker("unpause" if state == "paused" else "start", host.container)
        return f"started {host.container}, which was {state}"

    _on_each(idle, start)


def _run_command(testbed: str, host: Host, image: str) -> list[str]:
    return [
        *("run", "--detach", "--name", host.container, "--hostname", host.name),
        *("--network", testbed, "--ip", host.address, "--label", f"{LABEL}={testbed}"),
        *_RUN_FLAGS,
        image,
    ]


def ensure_reachable(testbed: str, wanted: Sequence[Host]) -> None:
    """Return once systemd is up in each container and SSH lets the key in, host keys pinned."""
    public_key = _ensure_key(testbed)
    pinned: list[str] = []

    def welcome(host: Host) -> str:
        state, host_keys = _wait_for_systemd(host, public_key)
        _wait_for_ssh(host)
        pinned.extend(f"{host.address} {' '.join(key.split()[:2])}\n" for key in host_keys)
        return f"{host.container} is {state} and answers over SSH"

    _on_each(wanted, welcome)
    known_hosts(testbed).write_text("".join(sorted(pinned)))


def _ensure_key(testbed: str) -> str:
    key = ssh_key(testbed)
    public = key.with_suffix(".pub")
    if not key.exists():
        if shutil.which("ssh-keygen") is None:
            if not can_install():
                raise TestbedError("there is no ssh-keygen", "install the OpenSSH client.")
            apt_install("openssh-client")
        key.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", testbed, "-f", str(key)],
            check=True,
        )
    return public.read_text().strip()


def _wait_for_systemd(host: Host, public_key: str) -> tuple[str, list[str]]:
    deadline = time.monotonic() + _READY_SECONDS
    state = "unknown"
    while time.monotonic() < deadline:
        shown = docker("exec", host.container, "sh", "-c", _WELCOME, "sh", public_key, check=False)
        state, *host_keys = shown.splitlines() or ["not running"]
        if host_keys:
            return state, host_keys
        time.sleep(0.3)
    raise TestbedError(
        f"systemd in {host.container} is {state} after {_READY_SECONDS} s",
        f"docker logs {host.container}; docker exec {host.container} systemctl --failed",
    )


def _wait_for_ssh(host: Host) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.address, 22), timeout=3) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            time.sleep(0.2)
    raise TestbedError(
        f"{host.address} does not answer over SSH after {_READY_SECONDS} s",
        "containers can be reached by address only where Docker runs without a VM (Linux).",
    )


def remove(testbed: str) -> None:
    """Remove the containers and the network of a testbed, and nothing else."""

    def remove_one(container: str) -> str:
        docker("rm", "--force", "--volumes", container)
        return f"removed {container}"

    _on_each(list(states(testbed)), remove_one)
    for network in _networks(testbed):
        docker("network", "rm", network)
        say(f"removed the network {network}")


def _on_each(items: Sequence[T], work: Callable[[T], str]) -> None:
    """Do the work for all items side by side, and say what came of each as it ends."""
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        for done in as_completed([pool.submit(work, item) for item in items]):
            say(done.result())
