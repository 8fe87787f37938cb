"""What the facts prove of certificates."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf

import authorities
from authorities import Stage
from certificates import Authority
from certificates import days_left as left
from cluster import Cluster
from operations.judgement import Proof, proof
from setting_types import SettingsError

HINT = "deploy.py renews what ends soon; day2/rotate_certificates.py renews all."


def certificates(
    cluster: Cluster, days_left: Mapping[str, float], wrong: Mapping[str, Sequence[str]]
) -> Proof:
    """Every certificate is good, shown, and renewed in time: a third of its life before its end.

    + days_left: by the name of the certificate's subject; -inf for one that nobody could read
    + wrong: by host, what is wrong with its certificates, or with whom it believes
    """
    if not days_left:
        return Proof("certificates", "skipped", "no host of this run has any")
    soon = cluster.tls.certificate_days / 3
    name, first = min(days_left.items(), key=lambda item: item[1])
    faults = [f"{name}: {fault}" for name, found in wrong.items() for fault in found]
    ended = [name for name, days in days_left.items() if -inf < days <= 0]
    faults += [f"the certificate of {name} has ended" for name in ended]
    good = f"{len(days_left)} certificates, the first ends in {first:.0f} days ({name})"
    if not faults and first < soon:
        return Proof("certificates", "warning", good, HINT)
    return proof("certificates", good, faults, HINT)


# From tls_certificate_days before its end an authority signs shorter and shorter certificates; the
# same again is for handing out the next one to every client.
IN_GOOD_TIME = 2
REPLACE = "day2/rotate_certificates.py --data authority="


def authority(cluster: Cluster, found: Authority, now: datetime) -> Proof:
    """The authority can sign, will for long, and no other one is half-way to its place.

    + found: what the secrets have of it
    """
    try:
        authorities.check(found, now)
    except SettingsError as error:
        return Proof("authority", "failed", error.problem, error.hint)
    days, stage = left(found.certificate, now), authorities.stage(found)
    evidence = f"ends in {days:.0f} days"
    if stage is Stage.PREPARED:
        waits = f"{evidence}; the next one is trusted, and does not sign yet"
        return Proof("authority", "warning", waits, f"when clients have it: {REPLACE}replace")
    if stage is Stage.REPLACED:
        rests = f"{evidence}; the former one is still trusted"
        return Proof("authority", "warning", rests, f"{REPLACE}replace ends that.")
    if days < IN_GOOD_TIME * cluster.tls.certificate_days:
        return Proof("authority", "warning", evidence, f"{REPLACE}prepare begins the next one.")
    return Proof("authority", "ok", evidence)
