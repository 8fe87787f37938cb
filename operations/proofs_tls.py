"""The proof of certificates: how long each one is still good."""

from math import inf

from pyinfra import host, state
from pyinfra.api import operation

import plan
from certificates import CertificateError, days_left, utc_now
from cluster import Cluster, Host
from credentials import Secrets
from facts.identities import Identities
from operations import Commands, judgement_tls, report
from operations.certificates import outdated


@operation()
def authority(cluster: Cluster, secrets: Secrets) -> Commands:
    """
    See whether the authority can sign for long; asks no host.

    + cluster: the whole cluster
    + secrets: the cluster's secrets, its authority among them

    **Example:**

    .. code:: python

        proofs_tls.authority(name="Authority", cluster=cluster, secrets=secrets)
    """
    if state.is_executing and plan.first_of([member.name for member in cluster.hosts]):
        report.record(judgement_tls.authority(cluster, secrets.authority, utc_now()))
    host.noop("proofs change nothing")
    yield from ()


@operation()
def certificates(cluster: Cluster, here: Host) -> Commands:
    """
    See how long this host's certificates are still good, and whether they are shown.

    + cluster: the whole cluster
    + here: this host

    **Example:**

    .. code:: python

        proofs_tls.certificates(name="Certificates", cluster=cluster, here=here)
    """
    identities = cluster.identities(here)
    if state.is_executing and identities:
        found = host.get_fact(Identities, directories=[one.directory for one in identities]) or {}
        for one in identities:
            shown = found.get(one.directory)
            report.DAYS_LEFT[one.subject.name] = _days(shown["certificate"] if shown else "")
            report.OUTDATED.setdefault(here.name, []).extend(outdated(cluster, here, one))
    host.noop("proofs change nothing")
    yield from ()


def _days(certificate: str) -> float:
    try:
        return days_left(certificate, utc_now())
    except CertificateError:
        return -inf
