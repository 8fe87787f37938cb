"""keepalived: the virtual IP is on one HAProxy host at a time, and only where HAProxy answers."""

from pyinfra import host, state
from pyinfra.api import OperationError, StringCommand, operation

from cluster import Cluster, Host
from facts.network import InterfaceOf
from operations import Commands, config_files
from operations.config_files import File

UNIT = "keepalived.service"
CONFIG = "/etc/keepalived/keepalived.conf"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/pgha.conf"
# In the order of the inventory; whoever has the address keeps it while HAProxy answers there.
FIRST_PRIORITY = 200


def deploy(cluster: Cluster, here: Host) -> None:
    """Share the virtual IP with the other HAProxy hosts, if there is one."""
    if cluster.haproxy.virtual_ip:
        shared(name="Share the virtual IP", cluster=cluster, here=here)
    else:
        given_up(name="Give up the virtual IP")


@operation()
def shared(cluster: Cluster, here: Host) -> Commands:
    """
    Write keepalived's configuration, checked by keepalived itself; start it or let it reload.

    Only a changed drop-in restarts it, and the address is away for a moment.

    + cluster: the whole cluster
    + here: this HAProxy host

    **Example:**

    .. code:: python

        keepalived.shared(name="Virtual IP", cluster=cluster, here=here)
    """
    interface = host.get_fact(InterfaceOf, address=here.address)
    if not interface:
        if state.is_executing:
            raise OperationError(
                f"no interface of {here.name} has {here.address}\n"
                "    HINT: the inventory must have the address that the host itself has."
            )
        host.noop(f"no interface has {here.address}")
        return
    content = config_files.render(
        "keepalived.conf.j2",
        cluster=cluster,
        host=here,
        interface=interface,
        priority=FIRST_PRIORITY - cluster.haproxy_hosts.index(here),
        seconds=cluster.haproxy.check_ms / 2000,
    )
    drop_in = File(DROP_IN, config_files.render("keepalived.service.conf.j2"))
    wanted = [
        drop_in,
        File(CONFIG, content, check="keepalived --config-test --use-file {}"),
    ]
    found = config_files.read(wanted, [UNIT])
    different = config_files.differing(wanted, found)
    ready = config_files.unit_is_ready(found, UNIT) and config_files.holds(
        drop_in, found, different, UNIT
    )
    if ready and not different:
        host.noop("keepalived runs with this configuration")
        return
    start = "systemctl daemon-reload && " + (
        f"systemctl reload {UNIT}"
        if ready
        else f"systemctl enable {UNIT} && systemctl restart {UNIT}"
    )
    if different:
        yield from config_files.written(different, start)
    else:
        yield StringCommand(start)


@operation()
def given_up() -> Commands:
    """
    Stop keepalived where a deploy has started it, and leave anybody else's alone.

    **Example:**

    .. code:: python

        keepalived.given_up(name="Give up the virtual IP")
    """
    if DROP_IN not in config_files.read([], also=[DROP_IN])["paths"]:
        host.noop("there is no virtual IP")
        return
    yield StringCommand(f"systemctl disable --now {UNIT} && rm -f {CONFIG} {DROP_IN}")
