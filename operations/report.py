"""What was proven, as a table for people or a document for programs, on stdout."""

import json
import shutil
import textwrap
from collections.abc import Sequence

import click
from pyinfra import host, inventory, state
from pyinfra.api import OperationError, operation

import plan
from cluster import Cluster, Host
from facts.routing import Session
from facts.waiting_wal import WaitingWal
from operations import (
    Commands,
    judgement,
    judgement_access,
    judgement_backup,
    judgement_tls,
    selinux,
)
from operations.judgement import Proof

COLOURS = {"ok": "green", "failed": "red", "warning": "yellow", "skipped": "blue"}
MARGIN, NAME, STATUS = "  ", 14, 9
# Every proof, in the order of the table, and the group that is asked for it ("" is all hosts).
PROOFS = {
    "hosts": "",
    "etcd": "etcd",
    "patroni": "postgres",
    "writes": "haproxy",
    "pooled": "haproxy",
    "reads": "haproxy",
    "address": "haproxy",
    "archiving": "pgbackrest",
    "queue": "postgres",
    "gaps": "pgbackrest",
    "backup": "pgbackrest",
    "verified": "pgbackrest",
    "rehearsal": "pgbackrest",
    "firewall": "",
    "selinux": "",
    "authority": "",
    "certificates": "",
    "versions": "etcd",
}

PROVEN: list[Proof] = []
REACHED: dict[str, dict[str, bool]] = {}
"""What each host got through to: judged when all have tried."""
HOLDERS: dict[str, bool] = {}
"""Whether each HAProxy host has the virtual IP."""
VIRTUAL_SESSIONS: list[Session] = []
"""What came of connecting to the virtual IP."""
WAITING: dict[str, WaitingWal | None] = {}
"""What each database host has of WAL that is not archived yet."""
DAYS_LEFT: dict[str, float] = {}
"""How long each certificate is still good, by whose it is."""
TLS_FAULTS: dict[str, list[str]] = {}
"""By host, what is wrong with whom it believes, and with what it shows."""
UNFIT: dict[str, tuple[str, str]] = {}
"""Why a host that answers could not be asked, and how to mend it."""


def record(proof: Proof) -> None:
    """Keep a proof for the table."""
    PROVEN.append(proof)


def lose(reason: str, hint: str) -> None:
    """Go on without this host, and fail the proof of hosts for this reason."""
    UNFIT[host.name] = reason, hint
    state.fail_hosts({inventory.get_host(host.name)})


def failed(name: str) -> bool:
    """Say whether a proof was recorded as failed."""
    return any(proof.name == name and proof.status == "failed" for proof in PROVEN)


def takes_part(member: Host) -> bool:
    """Say whether this run is meant for a host, be it up or down."""
    return bool(state.is_host_in_limit(inventory.get_host(member.name)))


def active() -> list[str]:
    """Return the names of the hosts of this run that still answer."""
    return [member.name for member in inventory.get_active_hosts()]


@operation()
def printed(cluster: Cluster) -> Commands:
    """
    Judge what all hosts saw together, print every proof once, and fail when one failed.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        report.printed(name="Report", cluster=cluster)
    """
    if state.is_executing and plan.first_of([member.name for member in cluster.hosts]):
        proofs = _all(cluster)
        if cluster.verify.format == "json":
            show([document(cluster.general.name, proofs)])
        else:
            show(table(proofs))
        if any(proof.status == "failed" for proof in proofs):
            raise OperationError(verdict(proofs))
    host.noop("proofs change nothing")
    yield from ()


def _all(cluster: Cluster) -> list[Proof]:
    part = [member for member in cluster.hosts if takes_part(member)]
    lost = {failed.name for failed in state.failed_hosts}
    found = [
        judgement.hosts(
            [member.name for member in part if member.name not in lost],
            [member.name for member in part if member.name in lost - UNFIT.keys()],
            [member.name for member in cluster.hosts if member not in part],
            list(UNFIT.values()),
        ),
        *PROVEN,
        judgement_access.firewall(cluster, REACHED),
        judgement_tls.certificates(cluster, DAYS_LEFT, TLS_FAULTS),
    ]
    if HOLDERS or not cluster.haproxy.virtual_ip:
        found.append(judgement_access.address(cluster, HOLDERS, VIRTUAL_SESSIONS))
    if selinux.DENIALS:
        found.append(selinux.judged(selinux.DENIALS))
    if WAITING:
        found.append(judgement_backup.queue(cluster, WAITING))
    for name, group in PROOFS.items():
        if name == "selinux":  # a line of its own only where any host has it
            continue
        if not any(proof.name == name for proof in found):
            asked = [member for member in part if group in member.groups]
            found.append(judgement.unproven(name, group, bool(asked)))
    return sorted(found, key=lambda proof: list(PROOFS).index(proof.name))


def show(lines: Sequence[str]) -> None:
    """Print lines to stdout, where nothing else goes; without colours where that is no terminal.

    With pyinfra's own --json they go to stderr: stdout belongs to that document then.
    """
    for line in lines:
        click.echo(line, err=bool(plan.command_line.get("json_output")))


def table(proofs: Sequence[Proof], width: int = 0) -> list[str]:
    """Return a line per proof, and what to look at below each that does not hold."""
    width = width or min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = ["", f"{MARGIN}{'PROOF':<{NAME}}{'RESULT':<{STATUS}}EVIDENCE"]
    for proof in proofs:
        result = "FAILED" if proof.status == "failed" else proof.status
        indent = f"{MARGIN}{proof.name:<{NAME}}{result:<{STATUS}}"
        coloured = click.style(f"{result:<{STATUS}}", fg=COLOURS[proof.status])
        hint = f"HINT: {proof.hint}" if proof.hint else ""
        first, *more = [
            part
            for text in (proof.evidence, hint)
            for part in textwrap.wrap(text, max(width - len(indent), 30), break_on_hyphens=False)
        ]
        lines.append(f"{MARGIN}{proof.name:<{NAME}}{coloured}{first}")
        lines += [" " * len(indent) + line for line in more]
    return [*lines, "", MARGIN + verdict(proofs)]


def verdict(proofs: Sequence[Proof]) -> str:
    """Return the whole in one line."""
    failed = [proof.name for proof in proofs if proof.status == "failed"]
    if failed:
        return f"{len(failed)} of {len(proofs)} proofs failed: {', '.join(failed)}"
    told = [
        f"{sum(proof.status == status for proof in proofs)} {word}"
        for status, word in (("ok", "proofs hold"), ("warning", "warn"), ("skipped", "skipped"))
        if any(proof.status == status for proof in proofs)
    ]
    return ", ".join(told)


def document(cluster: str, proofs: Sequence[Proof]) -> str:
    """Return the same as one JSON document."""
    ok = all(proof.status != "failed" for proof in proofs)
    return json.dumps({"cluster": cluster, "ok": ok, "proofs": [vars(p) for p in proofs]}, indent=2)
