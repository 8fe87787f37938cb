"""What the facts prove of certificates."""

from collections.abc import Mapping, Sequence

from cluster import Cluster
from operations.judgement import Proof, proof

HINT = "deploy.py renews what ends soon; day2/rotate_certificates.py renews all."


def certificates(
    cluster: Cluster, days_left: Mapping[str, float], outdated: Mapping[str, Sequence[int]]
) -> Proof:
    """Every certificate is good, shown, and renewed in time: a third of its life before its end.

    + days_left: by the name of the certificate's subject; -inf for one that nobody could read
    + outdated: by host, the ports that show another certificate than the disk's
    """
    if not days_left:
        return Proof("certificates", "skipped", "no host of this run has any")
    soon = cluster.tls.certificate_days / 3
    name, first = min(days_left.items(), key=lambda item: item[1])
    ended = [name for name, days in days_left.items() if days <= 0]
    faults = [f"the certificate of {name} is missing or has ended" for name in ended]
    faults += [
        f"port {port} of {name} shows an old certificate"
        for name, ports in outdated.items()
        for port in ports
    ]
    good = f"{len(days_left)} certificates, the first ends in {first:.0f} days ({name})"
    if not faults and first < soon:
        return Proof("certificates", "warning", good, HINT)
    return proof("certificates", good, faults, HINT)
