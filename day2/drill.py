"""Let one fault happen to this cluster on purpose, under load, and leave a report.

    pyinfra inventory.py day2/drill.py -y --data fault=patroni-killed
    pyinfra inventory.py day2/drill.py -y --data fault=all

It asks for the cluster's name first, and nothing begins unless all is well. Clients on this machine
write through HAProxy meanwhile, to a table pgha_drill of the application's database that is dropped
at the end: this machine has to be in cluster_client_networks. What a fault stops is started again,
by the cluster itself or by this, and the drill ends when all is well: drill-<cluster>-<time>.html
has a picture of it, and .json the same for programs.
"""

from pyinfra import host

import plan
from operations import agreement, drill, preflight, summary

cluster = plan.cluster()
preflight.identify(cluster, cluster.host(host.name))
plan.refuse_without_secrets(", and with it no password to write with")
faults = drill.chosen(host.data.get("fault"))
if plan.first_of([member.name for member in cluster.postgres_members]):
    agreement.agree(cluster.general.name, drill.told(cluster, faults))
    drill.held(name="Hold the drill", cluster=cluster, secrets=plan.secrets(), faults=faults)
summary.deploy(cluster)
