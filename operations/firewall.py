"""firewalld: each port open to the hosts that need it, in one policy that is ours alone.

A policy from any zone to this host leaves the user's own zones as they are, and removing a rule
is writing the file without it.
"""

from pyinfra import host
from pyinfra.api import StringCommand, operation

from cluster import Cluster, Host
from operations import Commands, config_files
from operations.config_files import File

UNIT = "firewalld.service"
POLICY = "/etc/firewalld/policies/pgha.xml"
# A policy that firewalld cannot load gives way to the one before, so that the next run tries again
# and a reboot finds the ports open. Reloading keeps established connections, ours among them.
KEPT = f"{POLICY}.pgha-kept"
LOAD = (
    f"if systemctl is-active -q {UNIT};"
    f" then firewall-cmd -q --check-config && firewall-cmd -q --reload"
    f" && systemctl -q enable {UNIT};"
    f" else firewall-offline-cmd -q --check-config && systemctl enable --now {UNIT}; fi"
    f" && rm -f {KEPT} || {{ mv -f {KEPT} {POLICY} 2>/dev/null || rm -f {POLICY}; exit 1; }}"
)


def deploy(cluster: Cluster, here: Host, ssh_port: int) -> None:
    """Open what this host must answer, to those who may ask."""
    policy(name="Open ports to those who need them", cluster=cluster, here=here, ssh_port=ssh_port)


@operation()
def policy(cluster: Cluster, here: Host, ssh_port: int) -> Commands:
    """
    Write and load the firewall policy of this host; SSH stays open in it whatever else changes.

    + cluster: the whole cluster
    + here: this host
    + ssh_port: the port that the deploying connection came in by, 0 if by none

    **Example:**

    .. code:: python

        firewall.policy(name="Open ports", cluster=cluster, here=here, ssh_port=22)
    """
    content = config_files.render(
        "firewalld-policy.xml.j2",
        cluster=cluster,
        ssh_ports=sorted({here.ssh_port, ssh_port} - {0}),
        openings=cluster.openings(here),
        vrrp_peers=cluster.vrrp_peers(here),
    )
    wanted = [File(POLICY, content)]
    found = config_files.read(wanted, [UNIT])
    different = config_files.differing(wanted, found)
    if different:
        if POLICY in found["paths"]:
            yield StringCommand(f"cp -p {POLICY} {KEPT}")
        yield from config_files.written(different, LOAD)
    elif not config_files.unit_is_ready(found, UNIT):
        yield StringCommand(f"systemctl enable --now {UNIT}")
    else:
        host.noop("the firewall policy is loaded")
