"""What a host runs by, as its services say themselves: whom they believe, and what they show."""

from pyinfra import host, state
from pyinfra.api import OperationError, operation

import authorities
from certificates import flaw, utc_now
from cluster import Cluster, Host
from credentials import Secrets
from facts.handshakes import Handshake, Handshakes
from facts.haproxy import HaproxyChecks
from facts.identities import Identities
from identities import AUTHORITY, Identity
from operations import Commands, certificates, config_files, haproxy
from operations.config_files import File
from operations.waiting import wait_until

# Patroni reloads in its next loop (10 s), a busy postmaster when it comes to it.
TAKEN_OVER_SECONDS = 120.0
# Of questions, which HAProxy asks haproxy_check_ms apart; fewer lose nobody (haproxy.cfg.j2).
CHECKS, CHECKED_QUESTIONS = 3, 60
LOOK_HINT = "look at the service's journal there; running this again goes on from here."

RUNS_BY: dict[str, Secrets] = {}
"""By host, the secrets that every service of it was last seen to run by."""


@operation()
def seen(cluster: Cluster, here: Host, secrets: Secrets) -> Commands:
    """
    Wait until every service of this host shows its certificate, and believes whom it should.

    + cluster: the whole cluster
    + here: this host
    + secrets: the cluster's secrets, its authority among them

    **Example:**

    .. code:: python

        authority_seen.seen(name="See", cluster=cluster, here=here, secrets=secrets)
    """
    if not state.is_executing:
        host.noop("seen when it is done")
        return
    why: str | None = None

    def done() -> bool:
        nonlocal why
        why = lacking(cluster, here, secrets)
        return why is None

    try:
        wait_until("running by it", done, TAKEN_OVER_SECONDS, LOOK_HINT)
    except OperationError:
        raise OperationError(f"{here.name}: {why}\n    HINT: {LOOK_HINT}") from None
    RUNS_BY[here.name] = secrets
    host.noop("services show what they should, and believe whom they should")
    yield from ()


def lacking(cluster: Cluster, here: Host, secrets: Secrets) -> str | None:
    """Return what this host does not run by yet; None when it runs by all of it."""
    identities = cluster.identities(here)
    wanted = [File(AUTHORITY, secrets.authority.certificate)]
    found = config_files.read(
        wanted, [haproxy.UNIT], also=[haproxy.CONFIG, *(one.certificate for one in identities)]
    )
    if config_files.differing(wanted, found):
        return f"{AUTHORITY} is not what it should be"
    if here.is_haproxy and haproxy.is_stale(found):
        return f"HAProxy did not read {AUTHORITY} since it changed"
    shown = host.get_fact(Identities, directories=[one.directory for one in identities]) or {}
    for one in identities:
        told = shown.get(one.directory)
        if told is None:
            return f"nobody can read {one.directory}"
        if why := flaw(
            told["certificate"], told["request"], secrets.authority, one.subject, utc_now()
        ):
            return f"the certificate of {one.subject.name}: {why}"
        if certificates.is_older(found, one):
            return f"the certificate of {one.subject.name} is older than {AUTHORITY}"
        if why := _unsaid(cluster, here, one, secrets):
            return why
    return None


def _unsaid(cluster: Cluster, here: Host, one: Identity, secrets: Secrets) -> str | None:
    """Return which server of an identity does not show, or believe, what it should."""
    ports = cluster.servers(one) or {cluster.etcd.client_port: "", cluster.etcd.peer_port: ""}
    said: dict[str, Handshake] | None = host.get_fact(
        Handshakes, address=here.address, directory=one.directory, ports=ports
    )
    if not said:
        return f"nobody can ask what {one.service} shows"
    for port in ports:
        found = said[str(port)]
        if found["certificate"] == "none":
            return f"nobody answers on port {port}"
        if found["certificate"] != said["file"]["certificate"]:
            return f"port {port} shows another certificate than {one.certificate}"
        # All others read both files at once; etcd reads the authorities at its start.
        believes = set(found["authorities"])
        if one.service == "etcd" and believes != authorities.names(secrets.authority):
            return f"etcd believes others on port {port} than {AUTHORITY} says"
    return None


@operation()
def checked(cluster: Cluster, member: Host) -> Commands:
    """
    Wait until this HAProxy gets an answer from a member by TLS, as often as it takes to lose one.

    + cluster: the whole cluster
    + member: a database host

    **Example:**

    .. code:: python

        authority_seen.checked(name="See", cluster=cluster, member=member)
    """
    good = 0
    pace = max(1.0, cluster.haproxy.check_ms / 1000)  # it is looked at once a second

    def believed() -> bool:
        nonlocal good
        found = host.get_fact(HaproxyChecks, port=cluster.haproxy.stats_port) or {}
        outcomes = found.get(member.name, [])
        good = good + 1 if outcomes and all(o.startswith("L7") for o in outcomes) else 0
        return good >= CHECKS * pace

    if state.is_executing:
        wait_until(
            f"HAProxy's belief in {member.name}",
            believed,
            CHECKED_QUESTIONS * pace,
            f"look at its statistics, and at {AUTHORITY} there; nothing more was changed.",
        )
    host.noop(f"HAProxy believes {member.name}")
    yield from ()
