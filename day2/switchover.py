"""Move the primary to another member, when all is well and only then.

    pyinfra inventory.py day2/switchover.py
    pyinfra inventory.py day2/switchover.py -y --data candidate=node2

Without a candidate the replica that is nearest takes over. Sessions of the pooled port wait some
seconds and see no error; those of port 5000 end. This ends when every member leads or streams again
and writes reach the new primary through every HAProxy.
"""

from pyinfra import host

import plan
from operations import phase, preflight, summary, switchover

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
plan.refuse_without_secrets(", and with it no password to ask Patroni with")
secrets, candidate = plan.secrets(), host.data.get("candidate")

if here.is_postgres:
    switchover.ready(
        name="See whether all is well, and write a checkpoint",
        cluster=cluster,
        platform=platform,
        candidate=candidate,
    )
phase.reached(name="== switchover ==")
if here.is_haproxy:
    switchover.held(name="Let pooled sessions wait")
phase.reached(name="== from here pooled sessions wait ==")
if here.is_postgres:
    switchover.moved(
        name="Hand the lead over",
        cluster=cluster,
        here=here,
        secrets=secrets,
        candidate=candidate,
    )
phase.reached(name="== and here they go on ==")
if here.is_haproxy:
    switchover.released(name="Let pooled sessions go on")
phase.reached(name="== proof ==")
if here.is_postgres:
    switchover.settled(name="Wait until all members lead or stream", cluster=cluster)
if here.is_haproxy:
    switchover.proven(
        name="Write through HAProxy",
        cluster=cluster,
        here=here,
        platform=platform,
        secrets=secrets,
    )
summary.deploy(cluster)
