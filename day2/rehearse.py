"""Rehearse a restore of the newest backup now, on the repository host, and show what came of it.

    pyinfra inventory.py day2/rehearse.py -y --limit pgbackrest

The cluster is not touched, and nothing is left behind. A timer does the same each week.
"""

from pyinfra import host

import plan
from operations import backup_proofs, preflight

cluster = plan.cluster()
here = cluster.host(host.name)
preflight.identify(cluster, here)

if here.is_repository:
    backup_proofs.rehearsed(name="Rehearse a restore", cluster=cluster)
