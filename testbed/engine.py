"""Talk to the Docker engine; find one, or install and start one."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.hosts import STATE

_STARTED = time.monotonic()
_HEARTBEAT_SECONDS = 5
_ENGINE_START_SECONDS = 40


class TestbedError(Exception):
    """What went wrong, in one line, and how to mend it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def say(message: str) -> None:
    """Print a progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {message}", flush=True)


def docker(*arguments: str, check: bool = True, timeout: float = 120) -> str:
    """Run a docker command and return what it wrote; a refusal becomes one line."""
    command = ["docker", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError:
        raise TestbedError("there is no docker command", "install Docker.") from None
    except subprocess.TimeoutExpired:
        raise TestbedError(
            f"`docker {arguments[0]}` gave no answer in {timeout:.0f} s",
            "look at the Docker engine's log.",
        ) from None
    if check and done.returncode != 0:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
        raise TestbedError(f"`docker {arguments[0]}` failed: {reason}", "mend that, run it again.")
    return done.stdout.strip()


def run_visibly(
    what: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a long command with its output in a log, and show its newest line now and then."""
    STATE.mkdir(exist_ok=True)
    log = STATE / f"{re.sub('[^a-z0-9]+', '-', what)}.log"
    say(what)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    while True:
        try:
            status = process.wait(timeout=_HEARTBEAT_SECONDS)
            break
        except subprocess.TimeoutExpired:
            say(f"  {what}: {_last_line(log)}")
    if status != 0:
        raise TestbedError(f"{what} failed: {_last_line(log)}", f"the whole output is in {log}")


def _last_line(log: Path) -> str:
    text = log.read_text(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:90] if lines else "no output yet"


def apt_install(*packages: str) -> None:
    """Install Debian packages on this machine; only root may ask for it."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run_visibly("refresh the package lists", ["apt-get", "update"], quiet)
    run_visibly(
        f"install {' '.join(packages)}",
        ["apt-get", "install", "-y", "--no-install-recommends", *packages],
        quiet,
    )


def can_install() -> bool:
    """Return whether packages can be installed here: root, on a Debian-like machine."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def ensure_engine() -> None:
    """Return once a Docker engine answers; install and start one if root may."""
    if engine_answers():
        return
    if os.geteuid() != 0:
        raise TestbedError(
            "no Docker engine answers",
            "start Docker, join the group `docker`, or run this as root.",
        )
    _install_engine()
    _wait_for_engine(None if engine_answers() else _start_engine())


def engine_answers() -> bool:
    """Return whether a Docker engine can be reached from here."""
    if shutil.which("docker") is None:
        return False
    return docker("info", "--format", "{{.ServerVersion}}", check=False) != ""


def _install_engine() -> None:
    # Newer Debian releases keep the docker command in a package of its own.
    for command, package in (("dockerd", "docker.io"), ("docker", "docker-cli")):
        if shutil.which(command) is None:
            if not can_install():
                raise TestbedError(f"there is no {command}", "install Docker, run this again.")
            apt_install(package)


def _start_engine() -> "subprocess.Popen[bytes]":
    if Path("/run/systemd/system").is_dir():
        say("start Docker with systemd")
        return subprocess.Popen(["systemctl", "start", "docker"])
    STATE.mkdir(exist_ok=True)
    log = STATE / "dockerd.log"
    say(f"start dockerd in the background, its log is {log}")
    with log.open("ab") as output:
        return subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_for_engine(starter: "subprocess.Popen[bytes] | None") -> None:
    deadline = time.monotonic() + _ENGINE_START_SECONDS
    while time.monotonic() < deadline and not (starter and starter.poll()):
        if engine_answers():
            say("the Docker engine answers")
            return
        time.sleep(0.5)
    raise TestbedError(
        "the Docker engine does not start",
        f"look at {STATE / 'dockerd.log'} or `journalctl -u docker`.",
    )
