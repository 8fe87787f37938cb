"""Show the cluster: who leads, where to connect, what was backed up last; changes nothing.

pyinfra inventory.py day2/status.py -y
"""

from pyinfra import host

import plan
from operations import preflight, summary

cluster = plan.cluster()
if preflight.look(cluster, cluster.host(host.name)):
    summary.deploy(cluster)
