"""Renew all certificates and keys now, or replace the authority, while the cluster runs.

    pyinfra inventory.py day2/rotate_certificates.py -y

renews all, host by host. No service restarts: etcd reads its certificate at each handshake, Patroni
and PostgreSQL reload. A deploy does the same by itself for what has less than a third of its life
left.

    pyinfra inventory.py day2/rotate_certificates.py -y --data authority=prepare
    pyinfra inventory.py day2/rotate_certificates.py -y --data authority=replace

replace the authority. The first makes the next one and lets every host trust both. Then it is your
turn: every client that verifies needs the new /etc/pgha/ca.crt before it meets a certificate of the
next authority. The second lets that one sign all certificates, and then forgets the former one.
Each goes host by host, the primary last; etcd's members restart one after the other, everything
else reloads.

A run may be killed anywhere. The secrets file has each step before any host does, and no step is
taken before every host was seen to run by the last one; so this again goes on, and a deploy keeps
what it finds. docs/operations.md, "Replace the authority", has the whole way.
"""

from pyinfra import host

import plan
from operations import authority, certificates, patroni, phase, preflight

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
plan.refuse_without_secrets(", and with it no authority to sign anything")
certificates.refuse_unfit(plan.secrets())

if host.data.get("authority") is not None:
    plan.refuse_part_of_the_cluster()
    authority.deploy(cluster, here, platform)
else:
    for member in host.loop(list(cluster.hosts)):
        phase.reached(name=f"== {member.name} ==")
        if member.name == here.name:
            certificates.deploy(cluster, here, plan.secrets(), renew=True)
            if here.is_postgres:
                patroni.healthy(
                    name="Wait until this member leads or streams", cluster=cluster, here=here
                )
