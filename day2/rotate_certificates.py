"""Renew every certificate now, host by host, while the cluster runs.

    pyinfra inventory.py day2/rotate_certificates.py -y

No service restarts: etcd reads its certificate at each handshake, Patroni and PostgreSQL reload.
A deploy does the same by itself for what has less than a third of its life left.
"""

from pyinfra import host
from pyinfra.api.exceptions import DeployError

import plan
from operations import certificates, patroni, preflight

cluster = plan.cluster()
here = cluster.host(host.name)
preflight.identify(cluster, here)
if plan.secrets_are_new():
    raise DeployError(
        f"there is no {plan.secrets_path()}, and with it no authority to sign anything\n"
        "    HINT: bring the file to this machine."
    )

for member in host.loop(list(cluster.hosts)):
    if member.name == here.name:
        certificates.deploy(cluster, here, plan.secrets(), renew=True)
        if here.is_postgres:
            patroni.healthy(
                name="Wait until this member leads or streams", cluster=cluster, here=here
            )
