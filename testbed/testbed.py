#!/usr/bin/env python3
"""Start, show and remove the containers that stand in for real hosts.

Two variables choose which: PGHA_TESTBED (pgha, pgha-test, pgha-bench or pgha-copy; pgha by default)
and PGHA_NODES (number of database hosts, 1 to 15; 3 by default).
"""

import argparse
import shutil
import sys
from pathlib import Path

if __name__ == "__main__":  # a script finds its own folder only, not the project
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from testbed import containers, image
from testbed.engine import TestbedError, engine_answers, ensure_engine, say
from testbed.hosts import STATE, SUBNETS, base_file, base_of, hosts, outsider, selected


def up(testbed: str, nodes: int, base: str | None, with_outsider: bool) -> None:
    """Return once every host of the testbed runs and can be reached over SSH."""
    ensure_engine()
    base = base or base_of(testbed) or image.default_base()
    tag = image.ensure_image(base)
    base_file(testbed).parent.mkdir(parents=True, exist_ok=True)
    base_file(testbed).write_text(base)
    wanted = hosts(testbed, nodes)
    if with_outsider or outsider(testbed).container in containers.states(testbed):
        wanted.append(outsider(testbed))
    containers.ensure_network(testbed)
    containers.ensure_running(testbed, wanted, tag)
    containers.ensure_reachable(testbed, wanted)
    if old := containers.of_another_image(testbed, tag):
        say(f"not made from the present {tag} (`down` and `up` renew them): {', '.join(old)}")
    say(f"testbed {testbed} is up: {len(wanted)} hosts")


def down(testbed: str) -> None:
    """Remove the containers and the network of one testbed; its key stays."""
    _need_engine()
    containers.remove(testbed)
    base_file(testbed).unlink(missing_ok=True)
    say(f"testbed {testbed} is down")


def clean() -> None:
    """Remove all testbeds, the images made for them and testbed/.state; leave Docker running."""
    if engine_answers():
        for testbed in SUBNETS:
            containers.remove(testbed)
        for name in image.remove_images():
            say(f"removed the image {name}")
    shutil.rmtree(STATE, ignore_errors=True)
    say("nothing of the testbeds is left")


def status(testbed: str, nodes: int) -> None:
    """Print a line for each host of the testbed."""
    _need_engine()
    states = containers.states(testbed)
    wanted = [*hosts(testbed, nodes), outsider(testbed)]
    print(f"{'host':<11} {'container':<22} {'address':<14} {'groups':<15} state")
    for host in wanted:
        state = states.pop(host.container, "missing")
        groups = ",".join(host.groups) or "-"
        print(f"{host.name:<11} {host.container:<22} {host.address:<14} {groups:<15} {state}")
    for container, state in sorted(states.items()):
        print(f"{'-':<11} {container:<22} {'-':<14} {'-':<15} {state}")


def _need_engine() -> None:
    if not engine_answers():
        raise TestbedError("no Docker engine answers", "start Docker, or `testbed.py up` first.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("up", help="make and start what is missing")
    command.add_argument("--base", metavar="IMAGE", help="el8, el9, rockylinux:8, ...")
    command.add_argument("--outsider", action="store_true", help="add a host outside the cluster")
    commands.add_parser("down", help="remove the containers and the network")
    commands.add_parser("clean", help="remove all testbeds, their images and keys")
    commands.add_parser("status", help="show what runs")
    return parser.parse_args()


def main() -> int:
    """Run one command; a failure is one line and a hint."""
    arguments = _arguments()
    try:
        testbed, nodes = selected()
        match arguments.command:
            case "up":
                up(testbed, nodes, arguments.base, arguments.outsider)
            case "down":
                down(testbed)
            case "clean":
                clean()
            case "status":
                status(testbed, nodes)
    except ValueError as error:
        print(f"error: {error}\nHINT: unset it to get the default.", file=sys.stderr)
        return 1
    except TestbedError as error:
        print(f"error: {error}\nHINT: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted\nHINT: run it again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
