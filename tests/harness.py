"""Runs one operation as a case describes it: hosts, facts and time are made up, nothing is run.

A case is a mapping, one YAML file of it under tests/operations/. Its keys:

    cluster:     changes to the five hosts and their settings, as `clusters.described` takes them
    host:        where the operation runs (node1)
    platform:    debian (12), el8 or el9
    arguments:   of the operation, beside cluster, here, platform, secrets, ssh_port (22), replaced
                 (none), in_container (false), plan and wish (briefly.PLAN and WISH, to change);
                 secrets by their
                 stage (clusters.STAGES), hosts by their name
    refused:     why a switchover was not asked for, earlier in the run (nothing)
    executing:   false while pyinfra prepares or runs with --dry (true)
    diff:        true for --diff
    active:      hosts that are part of the run (all)
    facts:       by class name; `in turn: [...]` answers each question with the next one
    peers:       facts of other hosts, by name; "unreachable" for a host that cannot be connected
    commands:    exactly what runs; a mapping adds `stdin` (exact) or `stdin_has` (each a part)
    noop:        why nothing is needed
    logs:        parts of what is said meanwhile
    refuses:     parts of the OperationError's message

Facts are told as briefly as briefly.py takes them.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from pyinfra.api import Config, FactBase, OperationError, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.context import ctx_host, ctx_inventory, ctx_state
from pyinfra_testing.util import get_command_string  # type: ignore[import-untyped]

import operations
from cluster import Cluster
from facts.component import ComponentState
from operations import config_files, etcd, etcd_access, packages, selinux, ssh_trust, switchover
from operations.config_files import Directory, File
from platforms import Platform
from tests import briefly
from tests.clusters import DEFAULTS, SECRETS, STAGES, described

PLATFORMS = {
    "debian": Platform("debian", "bookworm", 18),
    "el8": Platform("el", "8", 18),
    "el9": Platform("el", "9", 18),
}
KEYS = {
    "cluster", "host", "platform", "arguments", "executing", "diff", "active", "facts", "peers",
    "commands", "noop", "logs", "refuses", "refused",
}  # fmt: skip


@dataclass
class Outcome:
    """What an operation did."""

    commands: list[StringCommand] = field(default_factory=list)
    noop: str | None = None
    logs: list[str] = field(default_factory=list)
    refusal: str | None = None

    @property
    def files(self) -> dict[str, str]:
        """Return the files that were written, by path."""
        found = {}
        for command in self.commands:
            words = str(command).split()
            if "/dev/stdin" in words:
                staged = words[words.index("/dev/stdin") + 1]
                found[staged.removesuffix(".pgha-new")] = stdin(command)
        return found


def line_of(command: StringCommand) -> str:
    """Return the command as the shell gets it, but for spaces that mean nothing."""
    line = get_command_string(command)
    assert isinstance(line, str), "a secret in a command line would show in `ps`, masked or not"
    return re.sub(" +", " ", line).strip()


def stdin(command: StringCommand) -> str:
    """Return what a command is fed with."""
    return str(command.connector_arguments.get("_stdin", ""))


class FakeHost:
    """Answers facts from a case, and remembers what it is told."""

    print_prefix = ""

    def __init__(
        self, name: str, facts: Mapping[str, Any], cluster: Cluster, outcome: Outcome
    ) -> None:
        self.name, self.cluster, self.outcome = name, cluster, outcome
        self.facts = deepcopy(dict(facts))
        self.data = DEFAULTS
        self.wanted: Sequence[File | Directory] = ()

    def get_fact(self, fact: type[FactBase[Any]], **arguments: Any) -> Any:
        own = {name: value for name, value in arguments.items() if not name.startswith("_")}
        inspect.signature(fact().command).bind(**own)  # the fact would refuse other arguments
        answer = self.facts[fact.__name__]
        if isinstance(answer, dict) and "in turn" in answer:
            later = answer["in turn"]
            answer = later.pop(0) if len(later) > 1 else later[0]
        if answer is None or fact.__name__ not in briefly.TOLD:
            return answer
        asked = briefly.Asked(self.cluster, self.name, self.wanted, own)
        return briefly.TOLD[fact.__name__](answer, asked)

    def noop(self, why: str) -> None:
        self.outcome.noop = why

    def log(self, message: str, *_: object) -> None:
        self.outcome.logs.append(message)


class Unreachable(FakeHost):
    """A host that nobody can connect to."""

    def get_fact(self, fact: type[FactBase[Any]], **arguments: Any) -> Any:
        raise ConnectError(f"no route to {self.name} for {fact.__name__}({arguments})")


def run(operation: Callable[..., Any], case: Mapping[str, Any]) -> Outcome:
    """Return what `operation` does in the situation of `case`."""
    if unknown := case.keys() - KEYS:
        raise ValueError(f"a case knows no {unknown}")
    outcome, cluster = Outcome(), described(**case.get("cluster", {}))
    here = FakeHost(case.get("host", "node1"), case.get("facts", {}), cluster, outcome)
    with _made_up_world(case, cluster, here):
        try:
            for command in _inner(operation)(**_arguments(operation, case, cluster)):
                outcome.commands.append(command)
        except OperationError as error:
            outcome.refusal = str(error)
    return outcome


def check(outcome: Outcome, case: Mapping[str, Any]) -> None:
    """Fail unless the outcome is what the case wants."""
    wanted = case.get("commands", [])
    lines = [word if isinstance(word, str) else word["command"] for word in wanted]
    assert [line_of(command) for command in outcome.commands] == lines
    for command, want in zip(outcome.commands, wanted, strict=True):
        if isinstance(want, dict):
            _check_stdin(stdin(command), want)
    assert outcome.noop == case.get("noop")
    assert (outcome.refusal is None) == ("refuses" not in case), outcome.refusal
    for part in case.get("refuses", []):
        assert part in str(outcome.refusal)
    assert not outcome.refusal or "\n    HINT: " in outcome.refusal
    for part in case.get("logs", []):
        assert part in "\n".join(outcome.logs)


def _check_stdin(found: str, want: Mapping[str, Any]) -> None:
    if "stdin" in want:
        assert found == want["stdin"]
    for part in want.get("stdin_has", []):
        assert part in found


def _inner(operation: Callable[..., Any]) -> Callable[..., Iterator[StringCommand]]:
    inner: Callable[..., Iterator[StringCommand]] = operation._inner  # type: ignore[attr-defined]
    return inner


def _arguments(
    operation: Callable[..., Any], case: Mapping[str, Any], cluster: Cluster
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "cluster": cluster,
        "here": cluster.host(case.get("host", "node1")),
        "platform": PLATFORMS[case.get("platform", "debian")],
        "secrets": SECRETS,
        "ssh_port": 22,
        "cores": 4,
        "replaced": [],
        "in_container": False,
        **case.get("arguments", {}),
    }
    given["plan"] = replace(briefly.PLAN, **case.get("arguments", {}).get("plan", {}))
    given["wish"] = replace(briefly.WISH, **case.get("arguments", {}).get("wish", {}))
    for name in {"secrets", "old", "new"} & case.get("arguments", {}).keys():
        given[name] = STAGES[given[name]]
    if "member" in given:
        given["member"] = cluster.host(given["member"])
    if "peers" in given:
        given["peers"] = [cluster.host(name) for name in given["peers"]]
    taken = inspect.signature(_inner(operation)).parameters.values()
    return {
        one.name: given[one.name] for one in taken if one.name in given or one.default is one.empty
    }


@contextmanager
def _made_up_world(case: Mapping[str, Any], cluster: Cluster, here: FakeHost) -> Iterator[None]:
    config = Config()
    config.DIFF = case.get("diff", False)
    state = SimpleNamespace(is_executing=case.get("executing", True), config=config)
    with ExitStack() as world:
        world.enter_context(ctx_state.use(state))
        world.enter_context(ctx_host.use(here))
        world.enter_context(ctx_inventory.use(_inventory(case, cluster, here)))
        world.enter_context(patch.object(config_files, "read", _noting_what_is_wanted(here)))
        world.enter_context(patch("scram.os.urandom", lambda size: b"s" * size))
        for known in (
            etcd._running,
            packages._versions,
            selinux._modes,
            selinux.DENIALS,
            ssh_trust._read,
        ):
            world.enter_context(patch.dict(known, clear=True))
        world.enter_context(patch.object(etcd_access, "_settled", set()))
        world.enter_context(patch.object(switchover, "MOVED", []))
        world.enter_context(patch.object(switchover, "_refused", case.get("refused", [])))
        for module in vars(operations).values():
            if hasattr(module, "wait_until"):
                world.enter_context(patch.object(module, "wait_until", _looks_a_few_times))
        yield


def _inventory(case: Mapping[str, Any], cluster: Cluster, here: FakeHost) -> SimpleNamespace:
    hosts = {host.name: here for host in cluster.hosts if host.name == here.name}
    for host in cluster.hosts:
        facts = case.get("peers", {}).get(host.name, {})
        kind, facts = (Unreachable, {}) if facts == "unreachable" else (FakeHost, facts)
        hosts.setdefault(host.name, kind(host.name, facts, cluster, Outcome()))
    active = {hosts[name] for name in case.get("active", hosts)}
    return SimpleNamespace(get_host=hosts.__getitem__, get_active_hosts=lambda: active)


def _noting_what_is_wanted(here: FakeHost) -> Callable[..., ComponentState]:
    read = config_files.read

    def noting(wanted: Sequence[File | Directory], *more: Any, **others: Any) -> ComponentState:
        here.wanted = wanted
        return read(wanted, *more, **others)

    return noting


def _looks_a_few_times(
    what: str,
    ready: Callable[[], bool],
    seconds: float,
    hint: str,
    busy: Callable[[], bool] = lambda: False,
) -> None:
    patience, looks = 4, 0
    while not ready():
        looks += 1
        assert looks < 30, f"{what} would be waited for without an end"
        patience = 4 if busy() else patience - 1
        if not patience:
            raise OperationError(f"{what} did not happen within {seconds} s\n    HINT: {hint}")
