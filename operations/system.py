"""What the host itself owes the cluster: the right time, and a kernel tuned for a database."""

from pyinfra import host
from pyinfra.api import StringCommand, operation

from cluster import Host
from operations import Commands, config_files, pgbouncer
from operations.config_files import File
from platforms import Platform

SYSCTL = "/etc/sysctl.d/90-pgha.conf"
WATCHDOG = "/etc/udev/rules.d/90-pgha-watchdog.rules"


def deploy(here: Host, platform: Platform, in_container: bool) -> None:
    """Configure time and kernel; a container borrows both from its machine."""
    if not in_container:
        clock(name="Run chrony", platform=platform)
    if here.is_postgres or here.is_haproxy:
        kernel(name="Set kernel parameters", here=here, in_container=in_container)
    if here.is_haproxy:
        pgbouncer.user(name="Make PgBouncer's user")


@operation()
def clock(platform: Platform) -> Commands:
    """
    Keep the host's time with chrony: certificates, backups and restores to a time go by it.

    + platform: of this host

    **Example:**

    .. code:: python

        system.clock(name="Run chrony", platform=platform)
    """
    if config_files.unit_is_ready(
        config_files.read([], [platform.chrony_unit]), platform.chrony_unit
    ):
        host.noop("chrony runs")
        return
    yield StringCommand(f"systemctl enable --now {platform.chrony_unit}")


@operation()
def kernel(here: Host, in_container: bool) -> Commands:
    """
    Write the kernel parameters of this host's roles, and apply them where it has a kernel.

    + here: this host
    + in_container: /proc/sys belongs to the machine; the file is written and not applied

    Patroni's user gets the kernel's watchdog, where there is one; a container's is the machine's.

    **Example:**

    .. code:: python

        system.kernel(name="Set kernel parameters", here=here, in_container=False)
    """
    apply = "" if in_container else f"sysctl -q -p {SYSCTL}"
    wanted = {File(SYSCTL, config_files.render("sysctl.conf.j2", host=here)): apply}
    if here.is_postgres and not in_container:
        rules = File(WATCHDOG, config_files.render("watchdog.rules.j2"))
        wanted[rules] = "udevadm control --reload && udevadm trigger --sysname-match=watchdog"
    different = config_files.differing([*wanted], config_files.read([*wanted]))
    if not different:
        host.noop("the kernel is set")
    for file, then in wanted.items():
        if file in different:
            yield from config_files.written([file], then)
