"""The proofs of the authority and of certificates: good, shown, and for how long."""

from math import inf

from pyinfra import host, state
from pyinfra.api import OperationError, operation

import plan
from certificates import CertificateError, days_left, fault, utc_now
from cluster import Cluster, Host
from credentials import Secrets
from facts.identities import Identities, Shown, TrustedAuthorities
from identities import AUTHORITY, Identity
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
def certificates(cluster: Cluster, here: Host, secrets: Secrets) -> Commands:
    """
    See whether this host believes whom it should, and its certificates are good and shown.

    + cluster: the whole cluster
    + here: this host
    + secrets: the cluster's secrets, its authority among them

    **Example:**

    .. code:: python

        proofs_tls.certificates(name="Certificates", cluster=cluster, here=here, secrets=secrets)
    """
    if state.is_executing:
        trusted = host.get_fact(TrustedAuthorities)
        faults = []
        if trusted != secrets.authority.certificate:
            lack = "believes others than the secrets say" if trusted else "believes nobody"
            faults.append(lack if trusted is not None else f"does not tell what {AUTHORITY} has")
        for one in cluster.identities(here):
            faults += _faults(cluster, here, one, secrets)
        report.TLS_FAULTS[here.name] = faults
    host.noop("proofs change nothing")
    yield from ()


def _faults(cluster: Cluster, here: Host, one: Identity, secrets: Secrets) -> list[str]:
    """Return what is wrong with one identity, and note how long its certificate is still good."""
    found = host.get_fact(Identities, directories=[one.directory]) or {}
    shown = found.get(one.directory) or Shown(request="", certificate="", access="")
    report.DAYS_LEFT[one.subject.name] = _days(shown["certificate"])
    why = fault(shown["certificate"], shown["request"], secrets.authority, one.subject)
    faults = [f"the certificate of {one.subject.name}: {why}"] if why else []
    try:
        late = outdated(cluster, here, one)
    except OperationError:
        return [*faults, f"does not tell what {one.subject.name} shows"]
    return [*faults, *(f"port {port} shows an old certificate" for port in late)]


def _days(certificate: str) -> float:
    try:
        return days_left(certificate, utc_now())
    except CertificateError:
        return -inf
