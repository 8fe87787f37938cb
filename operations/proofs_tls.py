"""The proof of certificates: how long each one is still good."""

from math import inf

from pyinfra import host, state
from pyinfra.api import operation

from certificates import CertificateError, days_left, utc_now
from cluster import Cluster, Host
from credentials import Secrets
from facts.identities import Identities
from operations import Commands, report
from operations.certificates import outdated


@operation()
def certificates(cluster: Cluster, here: Host, secrets: Secrets) -> Commands:
    """
    See how long this host's certificates, and the authority's, are good, and if they are shown.

    + cluster: the whole cluster
    + here: this host
    + secrets: the cluster's secrets, its authority among them

    **Example:**

    .. code:: python

        proofs_tls.certificates(name="Certificates", cluster=cluster, here=here, secrets=secrets)
    """
    identities = cluster.identities(here)
    if state.is_executing and identities:
        found = host.get_fact(Identities, directories=[one.directory for one in identities]) or {}
        report.DAYS_LEFT["the authority"] = _days(secrets.authority.certificate)
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
