"""SELinux stays as it is, enforcing: switches and labels are set, and nothing is ever loosened.

What the policy confines here: HAProxy, keepalived, and sshd when it reads the keys of postgres.
Patroni, PostgreSQL under it, etcd, PgBouncer and pgBackRest run unconfined; their data is labelled
as a database's, so that a tool which is confined finds what it expects.
"""

from collections.abc import Mapping, Sequence

from pyinfra import host, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from facts.selinux import SelinuxBooleans, SelinuxDenials, SelinuxLabels, SelinuxMode
from identities import AUTHORITY
from operations import Commands
from operations.judgement import Proof
from platforms import Platform

DATABASE, SSH = "postgresql_db_t", "ssh_home_t"
# Ports of one's own choice: HAProxy and keepalived's check may speak to web ports only, otherwise.
HAPROXY = ["haproxy_connect_any", "keepalived_connect_any"]
# The tool for lasting rules is no part of a minimal installation.
SEMANAGE = (
    "command -v semanage >/dev/null || dnf -y -q install policycoreutils-python-utils"
    " || { echo 'HINT: install what brings semanage, or label these paths yourself.' >&2; exit 1; }"
)

# What each host said in this run: a mode does not change by itself.
_modes: dict[str, str] = {}

DENIALS: dict[str, list[str] | None] = {}
"""What was denied on each host that has SELinux; None where nobody notes it."""


def is_on(platform: Platform) -> bool:
    """Say whether SELinux is at work here, be it permissive; Debian is not even asked."""
    if platform.is_debian:
        return False
    if host.name not in _modes:
        _modes[host.name] = host.get_fact(SelinuxMode) or "disabled"
    return _modes[host.name] != "disabled"


def allow_haproxy(platform: Platform) -> None:
    """Let HAProxy and keepalived reach the ports that the settings name."""
    if is_on(platform):
        switched_on(name="Let HAProxy through SELinux", booleans=HAPROXY)


def label(platform: Platform, paths: dict[str, str]) -> None:
    """Label paths and all below them, now and for every relabelling to come."""
    if is_on(platform):
        labelled(name=f"Label {', '.join(paths)} for SELinux", paths=paths)


@operation()
def switched_on(booleans: list[str]) -> Commands:
    """
    Switch booleans of the policy on, for good; one that this policy has not is not needed.

    + booleans: their names

    **Example:**

    .. code:: python

        selinux.switched_on(name="Let HAProxy through", booleans=["haproxy_connect_any"])
    """
    found = host.get_fact(SelinuxBooleans, names=booleans)
    if not found:
        raise OperationError(
            f"{host.name} does not tell how {', '.join(booleans)} stand\n"
            "    HINT: try `getsebool -a` there."
        )
    off = [name for name, on in found.items() if not on]
    if not off:
        host.noop("SELinux lets them through")
        return
    yield StringCommand("setsebool -P", *(QuoteString(f"{name}=on") for name in off))


@operation()
def labelled(paths: dict[str, str]) -> Commands:
    """
    Give paths and all below them a type of SELinux, by a rule that lasts.

    A path that does not exist yet gets its rule.

    + paths: absolute paths, and the type of each

    **Example:**

    .. code:: python

        selinux.labelled(name="Label the data", paths={"/data/pgdata": "postgresql_db_t"})
    """
    found = host.get_fact(SelinuxLabels, paths=list(paths))
    if found is None:
        raise OperationError(
            f"{host.name} does not tell how {', '.join(paths)} are labelled\n"
            "    HINT: try `ls -dZ` there."
        )
    wrong = [path for path, kind in paths.items() if found["rules"].get(_pattern(path)) != kind]
    if wrong:
        yield StringCommand(SEMANAGE)
    for path in wrong:
        rule = StringCommand("-t", QuoteString(paths[path]), QuoteString(_pattern(path)))
        # The policy may have a rule of this pattern itself, which is modified, not added to.
        yield StringCommand(
            "semanage fcontext -a", rule, "2>/dev/null || semanage fcontext -m", rule
        )
    stale = [path for path, kind in paths.items() if found["files"].get(path, kind) != kind]
    if stale:
        yield StringCommand("restorecon -R", *map(QuoteString, stale))
    if not (wrong or stale):
        host.noop("the labels are right")


@operation()
def asked() -> Commands:
    """
    See what SELinux denied on this host since the first deploy, which left the authority there.

    **Example:**

    .. code:: python

        selinux.asked(name="Ask what SELinux denied")
    """
    if state.is_executing:
        DENIALS[host.name] = host.get_fact(SelinuxDenials, path=AUTHORITY)
    host.noop("proofs change nothing")
    yield from ()


def judged(denials: Mapping[str, Sequence[str] | None]) -> Proof:
    """Nothing was denied; what was may be no fault of the cluster's, so it is a warning."""
    noted = {name: found for name, found in denials.items() if found is not None}
    if not noted:
        return Proof("selinux", "skipped", "auditd runs on no host that has SELinux")
    if any(noted.values()):
        said = [f"{name}: {', '.join(found)}" for name, found in noted.items() if found]
        hint = "is it one of the cluster's? `ausearch -m AVC` there; docs/rocky.md."
        return Proof("selinux", "warning", "; ".join(said), hint)
    return Proof("selinux", "ok", f"denied nothing since the first deploy, on {len(noted)} hosts")


def _pattern(path: str) -> str:
    """Return what stands for a path and all below it in a rule."""
    return path.replace(".", r"\.") + "(/.*)?"
