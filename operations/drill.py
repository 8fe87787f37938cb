"""A drill: a fault on purpose, under load, on the cluster that the inventory names."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from random import SystemRandom

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.api.exceptions import DeployError, PyinfraError

import plan
from cluster import Cluster
from credentials import Secrets
from faults import report, trial
from faults.catalogue import FAULTS, Fault
from faults.load import Plan
from faults.site import Power, Site, Unreachable
from operations import Commands

SAFE = [name for name, fault in FAULTS.items() if fault.drill]
COMMAND_SECONDS = 120
LOOK_HINT = "look at `pyinfra inventory.py day2/status.py -y` and `journalctl` there."


class OverSsh:
    """Hands that are pyinfra's connections of this run."""

    def shell(self, host: str, command: str) -> str:
        line = StringCommand("bash", "-c", QuoteString(command))
        try:
            done, output = inventory.get_host(host).run_shell_command(
                line, _sudo=True, _timeout=COMMAND_SECONDS
            )
        except (PyinfraError, OSError) as error:
            raise Unreachable(f"{host}: {error}") from None
        if not done:
            raise Unreachable(f"{host}: {' / '.join(output.stderr_lines[-3:])}")
        return "\n".join(output.stdout_lines)

    def power(self, host: str, verb: Power) -> None:
        raise Unreachable(f"a drill does not {verb} {host}")

    def local(self, *command: str) -> None:
        again = [sys.executable, "-m", "pyinfra", plan.command_line["inventory"], *command]
        for option in plan.command_line.get("data") or ():
            if not option.startswith("fault="):
                again += ["--data", option]
        done = subprocess.run(again, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Unreachable(" / ".join(done.stderr.strip().splitlines()[-3:]))


def chosen(name: object) -> list[Fault]:
    """Return the faults that `--data fault=` names; raises DeployError for another name."""
    if name == "all":
        return [FAULTS[one] for one in SAFE]
    if name not in SAFE:
        told = "which fault?" if name is None else f"a drill knows no fault {name!r}"
        raise DeployError(f"{told}\n    HINT: --data fault=all, or one of {', '.join(SAFE)}.")
    return [FAULTS[str(name)]]


def told(cluster: Cluster, faults: Sequence[Fault]) -> list[str]:
    """Return what is going to happen, for people."""
    return [
        "",
        f"This happens to the cluster {cluster.general.name}, while clients use it:",
        *(f"    {fault.name}: {fault.what}" for fault in faults),
    ]


@operation()
def held(cluster: Cluster, secrets: Secrets, faults: Sequence[Fault]) -> Commands:
    """
    Let faults happen one after the other under load, and leave a report in this folder.

    + cluster: the whole cluster
    + secrets: the cluster's passwords
    + faults: each needs a shell on the hosts only

    **Example:**

    .. code:: python

        drill.held(name="Hold the drill", cluster=cluster, secrets=secrets, faults=faults)
    """
    if not (state.is_executing and plan.first_of([m.name for m in cluster.postgres_members])):
        host.noop("the first database host sees to that")
        return
    path = Path(f"drill-{cluster.general.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        trials = _happen(cluster, secrets, faults, path)
    except Unreachable as error:
        raise OperationError(f"{error}\n    HINT: {LOOK_HINT}") from None
    if broken := [one.fault for one in trials if not one.is_sound]:
        raise OperationError(
            f"{', '.join(broken)} broke a promise\n    HINT: read {path}.html; {LOOK_HINT}"
        )
    host.noop("what the drill did is mended")
    yield from ()


def _happen(
    cluster: Cluster, secrets: Secrets, faults: Sequence[Fault], path: Path
) -> list[trial.Trial]:
    site = _site(cluster)
    told = []
    with tempfile.TemporaryDirectory() as folder:
        load = _load(cluster, secrets, site, Path(folder))
        for fault in faults:
            host.log(f"{fault.name}: {fault.what}")
            done, seen = trial.run(
                site, fault, SystemRandom(), load, Path(folder), lambda _: nullcontext()
            )
            host.log(str(done))
            told.append((done, seen.writes))
            name = cluster.general.name
            path.with_suffix(".json").write_text(report.document(name, [t for t, _ in told]))
            path.with_suffix(".html").write_text(report.html(name, told))
    host.log(f"the report: {path}.html, and {path}.json for programs")
    return [done for done, _ in told]


def _site(cluster: Cluster) -> Site:
    return Site(
        hands=OverSsh(),
        scope=cluster.general.name,
        nodes={member.name: member.address for member in cluster.postgres_members},
        etcd={member.name: member.address for member in cluster.etcd_members},
        proxies={proxy.name: proxy.address for proxy in cluster.haproxy_hosts},
        repository=(cluster.repository.name, cluster.repository.address),
        entrance=cluster.entrances[-1],
        rest_port=cluster.patroni.rest_port,
    )


def _load(cluster: Cluster, secrets: Secrets, site: Site, folder: Path) -> Plan:
    """Return clients that write from this machine, as the application."""
    certificate = folder / "ca.crt"
    certificate.write_text(secrets.authority_certificate)
    return Plan(
        login={
            "user": cluster.app.role,
            "dbname": cluster.app.database,
            "password": secrets.app,
            "sslmode": "verify-full",
            "sslrootcert": str(certificate),
        },
        write=(site.entrance, cluster.haproxy.rw_port),
        table="pgha_drill",
    )
