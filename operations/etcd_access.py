"""Who may do what in etcd: root everything, Patroni its own keys, everybody else nothing.

Whoever can write Patroni's keys can set archive_command, which is a shell on every database host.
"""

import re
import shlex
from dataclasses import replace

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

import plan
from cluster import ETCDCTL, Cluster, Host
from credentials import Secrets
from facts.etcd import EtcdGuard, EtcdUserNames, EtcdUsers
from identities import AUTHORITY, Identity
from operations import Commands, config_files
from operations.config_files import File
from operations.waiting import repeated

# Names of users that were made here, whatever their password: `credentials.Secrets`.
OURS = re.compile(r"(root|patroni)-[0-9a-f]{8}")
# Three to seven members make two users each, a second apart when they meet.
TRIES = 15

# Hosts whose passwords were seen to by a call that might have left it to a later one.
_settled: set[str] = set()


def tidy(cluster: Cluster, secrets: Secrets) -> None:
    """Let old passwords in no more, asked once; only behind a line where all have the new ones."""
    if plan.first_of([member.name for member in cluster.etcd_members]):
        forgotten(name="Forget old passwords of etcd", cluster=cluster, secrets=secrets)


@operation()
def client(cluster: Cluster, here: Host, secrets: Secrets, may_wait: bool = False) -> Commands:
    """
    Let the secrets' passwords in, beside those that were good before, and root of this host by one.

    + cluster: the whole cluster
    + here: an etcd member's host
    + secrets: the cluster's secrets
    + may_wait: leave it to a later call, where etcd does not answer

    Root has an etcdctl with a certificate and etcd's root password. That file names the users that
    etcd knows, and is written after they were made: as long as it is right, etcd need not be asked.

    **Example:**

    .. code:: python

        etcd_access.client(
            name="Let new passwords in", cluster=cluster, here=here, secrets=secrets
        )
    """
    if may_wait:
        _settled.discard(here.name)
    elif here.name in _settled:
        host.noop("etcd knows the passwords, and root can ask it")
        return
    wanted = _etcdctl(here, secrets)
    there = config_files.read([wanted])
    is_new = ETCDCTL not in there["paths"]
    if not is_new:
        # Never in place of a password that etcd takes one that it does not know.
        question = f"--endpoints {cluster.etcd_endpoints} user list >/dev/null 2>&1"
        wanted = replace(wanted, check=f"{{}} --command-timeout=5s {question}")
    different = config_files.differing([wanted], there)
    if not different:
        _settled.add(here.name)
        host.noop("etcd knows the passwords, and root can ask it")
        return
    # With the password that this host has.
    found = None if is_new else host.get_fact(EtcdUsers, endpoints=cluster.etcd_endpoints)
    if found is None and not is_new:
        if state.is_executing and not may_wait:
            raise OperationError(
                f"etcd does not take the password that {host.name} has for it\n"
                f"    HINT: look at `{ETCDCTL} endpoint health` there."
            )
        host.noop("etcd does not answer: root keeps the password that it may still ask for")
        return
    _settled.add(here.name)
    if found and "root" in found:
        for user, role, password in _users(secrets):
            if role not in found.get(user, []):
                yield _made(cluster, user, role, password)
    yield from config_files.written(different)


@operation()
def guarded(cluster: Cluster, here: Host, secrets: Secrets) -> Commands:
    """
    Make etcd's users, Patroni's for its own keys only, and let nobody in without a password.

    + cluster: the whole cluster
    + here: an etcd member's host
    + secrets: the cluster's secrets

    A run that was killed before the last step is done again: until then etcd asks for no password.

    **Example:**

    .. code:: python

        etcd_access.guarded(name="Guard etcd", cluster=cluster, here=here, secrets=secrets)
    """
    is_guarded = host.get_fact(EtcdGuard, endpoints=cluster.etcd_endpoints, here=here.name)
    if is_guarded is None and state.is_executing:
        raise OperationError(
            f"etcd does not tell {host.name} whether it asks for passwords\n"
            "    HINT: no quorum answers: look at `journalctl -u etcd` there."
        )
    if is_guarded is not False:
        host.noop("etcd lets nobody in without a password")
        return
    keys, ask = QuoteString(cluster.patroni.namespace), etcdctl(cluster)
    yield StringCommand(
        "{", ask, "role get patroni >/dev/null 2>&1 ||", ask, "role add patroni; } &&",
        ask, "role grant-permission patroni --prefix=true readwrite", keys,
    )  # fmt: skip
    for user, role, password in _users(secrets):
        yield _made(cluster, user, role, password)
    yield StringCommand(
        # etcd wants a user of this name; without a password, nobody comes in as that.
        "{", ask, "user get root >/dev/null 2>&1 ||", ask, "user add root --no-password; } &&",
        ask, "user grant-role root root &&", ask, "auth enable",
    )  # fmt: skip


@operation()
def forgotten(cluster: Cluster, secrets: Secrets) -> Commands:
    """
    Let passwords of old in no more, once every host of the cluster has the secrets'.

    + cluster: the whole cluster
    + secrets: the cluster's secrets

    **Example:**

    .. code:: python

        etcd_access.forgotten(name="Forget old passwords", cluster=cluster, secrets=secrets)
    """
    found = host.get_fact(EtcdUserNames, endpoints=cluster.etcd_endpoints) or []
    good = {user for user, *_ in _users(secrets)}
    old = [name for name in sorted(found) if OURS.fullmatch(name) and name not in good]
    active = {member.name for member in inventory.get_active_hosts()}
    using = cluster.etcd_members + cluster.postgres_members
    missing = [member.name for member in using if member.name not in active]
    if not old or not good <= set(found):
        host.noop("etcd knows no old password")
        return
    if missing:
        host.log(f"old passwords of etcd stay until a run with {', '.join(missing)}")
        host.noop("others may still use the old passwords")
        return
    for name in old:
        yield StringCommand(etcdctl(cluster), "user delete", QuoteString(name))


def etcdctl(cluster: Cluster) -> StringCommand:
    """Return etcdctl as it asks any member that answers: this host's own may be down."""
    return StringCommand(ETCDCTL, "--endpoints", QuoteString(cluster.etcd_endpoints))


def _etcdctl(here: Host, secrets: Secrets) -> File:
    content = config_files.render(
        "pgha-etcdctl.j2",
        user=secrets.etcd_root_user,
        password=shlex.quote(secrets.etcd_root),
        other=secrets.etcd_patroni_user,
        identity=Identity("etcd", here.name),
        authority=AUTHORITY,
    )
    return File(ETCDCTL, content, mode="700")


def _users(secrets: Secrets) -> tuple[tuple[str, str, str], ...]:
    """Return name, role and password of each user."""
    return (
        (secrets.etcd_root_user, "root", secrets.etcd_root),
        (secrets.etcd_patroni_user, "patroni", secrets.etcd_patroni),
    )


def _made(cluster: Cluster, user: str, role: str, password: str) -> StringCommand:
    """Return the command that makes a user with a role.

    Other hosts do so at the same time. Whatever one of them changes between a login and a question
    makes etcd refuse the question, so it is asked again.
    """
    name, ask = QuoteString(user), etcdctl(cluster)
    make = StringCommand(
        "{", ask, "user get", name, ">/dev/null 2>&1 ||",
        # A builtin of the shell: the password is in no process's arguments.
        'printf "%s\\n" "$password" |', ask, "user add", name, "--interactive=false; } &&",
        ask, "user grant-role", name, role,
    )  # fmt: skip
    return StringCommand("read -r password;", repeated(make, TRIES), _stdin=f"{password}\n")
