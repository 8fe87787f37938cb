"""What faults are made of: steps that do one thing to some hosts."""

import json
import time
from collections.abc import Callable, Sequence

from cluster import ETCDCTL
from faults.site import Power, Site, Unreachable

Step = Callable[[Site, Sequence[str]], None]
"""Something done to the hosts of these names."""

HEALTHY_SECONDS = 300.0
LOOK_SECONDS = 0.5
TABLE = "inet pgha_fault"


def wait_until(what: str, ready: Callable[[], bool], seconds: float = HEALTHY_SECONDS) -> float:
    """Return after how many seconds it was so; raises Unreachable when it never was."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            raise Unreachable(f"{what} did not come about within {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def nothing(site: Site, targets: Sequence[str]) -> None:
    """Leave all as it is."""


def shell(command: str) -> Step:
    """Run a command on each target as root; `{others}` is every other host's address."""

    def step(site: Site, targets: Sequence[str]) -> None:
        for target in targets:
            others = ", ".join(a for name, a in site.addresses.items() if name != target)
            site.hands.shell(target, command.replace("{others}", others))

    return step


def power(verb: Power) -> Step:
    """Do to each target what its power supply or hypervisor would."""

    def step(site: Site, targets: Sequence[str]) -> None:
        for target in targets:
            site.hands.power(target, verb)

    return step


def main_process(unit: str) -> str:
    """Return the main process of a unit, for the shell of its host to find."""
    return f"$(systemctl show --value --property MainPID {unit})"


POSTMASTER = "$(pgrep -o -u postgres -x postgres)"
PATRONI = main_process("patroni")


def signalled(signal: str, *processes: str) -> Step:
    """Send a signal to processes, all of them at once."""
    return shell(f"kill -s {signal} {' '.join(processes)}")


def _nft(rules: str) -> str:
    """Return a command that loads rules with what firewalld itself is made of."""
    script = (
        "import json, sys, nftables; status, _, said = nftables.Nftables().cmd(sys.stdin.read());"
        " sys.exit(said if status else 0)"
    )
    return f"python3 -c {json.dumps(script)} <<'END'\n{rules}\nEND"


def cut(ways: Sequence[str] = ("input", "output"), ports: Sequence[int] = ()) -> Step:
    """Drop what goes between each target and the other hosts of the cluster.

    + ways: "input", "output" or both, as the target sees it
    + ports: of TCP, on either side; all traffic without
    """
    rules = [f"add table {TABLE}", f"flush table {TABLE}"]
    for way in ways:
        peer = "saddr" if way == "input" else "daddr"
        rules.append(f"add chain {TABLE} {way} {{ type filter hook {way} priority -300; }}")
        numbers = ", ".join(map(str, ports))
        sides = [f"tcp {side} {{ {numbers} }} " for side in ("dport", "sport")] if ports else [""]
        rules += [f"add rule {TABLE} {way} ip {peer} {{ {{others}} }} {side}drop" for side in sides]
    return shell(_nft("\n".join(rules)))


def mended(site: Site, targets: Sequence[str]) -> None:
    """Take all cuts away."""
    shell(_nft(f"add table {TABLE}\ndelete table {TABLE}"))(site, targets)


def switched_over(site: Site, targets: Sequence[str]) -> None:
    """Make each target the primary in turn, as a user would."""
    for target in targets:
        site.hands.local("day2/switchover.py", "-y", "--data", f"candidate={target}")


def in_turn(step: Step, back: Step = nothing) -> Step:
    """Do a step to one target after the other, each when all is well again."""

    def steps(site: Site, targets: Sequence[str]) -> None:
        for target in targets:
            step(site, [target])
            back(site, [target])
            wait_until(f"a healthy cluster after {target}", site.is_healthy)

    return steps


def leader_of_etcd(on_target: bool) -> Step:
    """Make the first target the leader of etcd, or another member where it must not be."""

    def step(site: Site, targets: Sequence[str]) -> None:
        (leader,) = site.etcd_leaders()
        if (leader == targets[0]) != on_target:
            heir = targets[0] if on_target else next(n for n in site.etcd if n != targets[0])
            listed = json.loads(site.hands.shell(leader, f"{ETCDCTL} member list -w json"))
            number = next(m["ID"] for m in listed["members"] if m["name"] == heir)
            url = f"https://{site.etcd[leader]}:2379"
            site.hands.shell(leader, f"{ETCDCTL} --endpoints {url} move-leader {number:x}")

    return step
