"""Move the primary to another member, when all is well and only then.

    pyinfra inventory.py day2/switchover.py
    pyinfra inventory.py day2/switchover.py -y --data candidate=node2

Without a candidate the replica that is nearest takes over. Writes wait some seconds. This ends when
every member leads or streams again and writes reach the new primary through every HAProxy.
"""

from pyinfra import host
from pyinfra.api.exceptions import DeployError

import plan
from operations import phase, preflight, summary, switchover

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
if plan.secrets_are_new():
    raise DeployError(
        f"there is no {plan.secrets_path()}, so nobody here could prove a write\n"
        "    HINT: bring the file to this machine."
    )
candidate = host.data.get("candidate")

if here.is_postgres:
    switchover.ready(name="See whether all is well", cluster=cluster, candidate=candidate)
phase.reached(name="== switchover ==")
if here.is_postgres:
    switchover.moved(
        name="Hand the lead over", cluster=cluster, platform=platform, candidate=candidate
    )
phase.reached(name="== proof ==")
if here.is_haproxy:
    switchover.proven(
        name="Write through HAProxy",
        cluster=cluster,
        here=here,
        platform=platform,
        secrets=plan.secrets(),
    )
summary.deploy(cluster)
