"""HAProxy: writes to the primary, reads to the replicas, as Patroni says who is which."""

from pyinfra import host
from pyinfra.api import StringCommand, operation

from cluster import Cluster
from facts.component import ComponentState
from facts.haproxy import HaproxyVersion
from identities import AUTHORITY
from operations import Commands, config_files, selinux
from operations.config_files import ROUNDED_SECONDS, File
from platforms import Platform

UNIT = "haproxy.service"
CONFIG = "/etc/haproxy/haproxy.cfg"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/pgha.conf"
# What HAProxy must be told only if it knows it, and since when it does. An unknown one, in a
# dry run on a bare host, is taken for new.
SINCE = {"conditional": (2, 2), "init_state": (3, 1)}


def deploy(cluster: Cluster, platform: Platform) -> None:
    """Route connections on this host."""
    selinux.allow_haproxy(platform)
    routes(name="Configure and start HAProxy", cluster=cluster)


@operation()
def routes(cluster: Cluster) -> Commands:
    """
    Write HAProxy's configuration, checked by HAProxy itself, and reload without a lost connection.

    Only a changed drop-in restarts it.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        haproxy.routes(name="HAProxy", cluster=cluster)
    """
    version = host.get_fact(HaproxyVersion)
    knows = {what: version is None or tuple(version) >= since for what, since in SINCE.items()}
    content = config_files.render(
        "haproxy.cfg.j2", cluster=cluster, authority=AUTHORITY, knows=knows
    )
    # The drop-in is last: what it says holds from a restart on, which comes with its writing.
    drop_in = File(DROP_IN, config_files.render("haproxy.service.conf.j2"))
    wanted = [File(CONFIG, content, check="haproxy -c -q -f {}"), drop_in]
    found = config_files.read(wanted, [UNIT], also=[AUTHORITY])
    different = config_files.differing(wanted, found)
    ready = config_files.unit_is_ready(found, UNIT)
    if ready and not different and not is_stale(found):
        host.noop("HAProxy runs with this configuration")
        return
    start = "systemctl daemon-reload && " + (
        f"systemctl reload {UNIT}"
        if ready and drop_in not in different
        else f"systemctl enable {UNIT} && systemctl restart {UNIT}"
    )
    if different:
        yield from config_files.written(different, start)
    else:
        yield StringCommand(start)


def is_stale(found: ComponentState) -> bool:
    """Say whether HAProxy has not read its configuration, or whom to believe, since they changed.

    A reload makes a new worker, so the youngest one tells.
    """
    read = (CONFIG, AUTHORITY)
    changed = max(found["paths"][path]["mtime"] for path in read if path in found["paths"])
    return changed > found["units"][UNIT]["started"] + ROUNDED_SECONDS
