"""How pgBackRest reaches other hosts: over SSH, or over TLS to a server of its own.

A change is a deploy of all hosts and phases. What tells the transport that a host has is a file
which only that one needs.
"""

from pyinfra import inventory
from pyinfra.api.exceptions import DeployError

import plan
from cluster import Cluster, Host
from operations import config_files
from operations.pgbackrest import SERVER_UNIT
from operations.ssh_trust import CLIENT

PHASES = ("firewall", "ssh_trust", "certificates", "pgbackrest")


def refuse_half_a_change(cluster: Cluster, here: Host) -> None:
    """Refuse a change of the transport that leaves hosts out (DeployError): WAL would pile up."""
    active = {member.name for member in inventory.get_active_hosts()}
    using = (*cluster.postgres_members, cluster.repository)
    missing = [member.name for member in using if member.name not in active]
    missing += [f"the phase {phase}" for phase in PHASES if not plan.runs(phase)]
    if not missing:
        return
    found = config_files.read([], also=[CLIENT, SERVER_UNIT])["paths"]
    is_tls = cluster.pgbackrest.transport == "tls"
    wanted, other = (SERVER_UNIT, CLIENT) if is_tls else (CLIENT, SERVER_UNIT)
    if other in found and wanted not in found:
        raise DeployError(
            f"pgbackrest_transport is {cluster.pgbackrest.transport}, but {here.name} uses the"
            f" other one, and this run leaves out {', '.join(missing)}\n"
            "    HINT: change it by a deploy of all hosts and phases, or set it back."
        )
