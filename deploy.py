"""Make bare hosts a PostgreSQL HA cluster, and keep them so.

    pyinfra inventory.py deploy.py
    pyinfra inventory.py deploy.py --limit haproxy
    pyinfra inventory.py deploy.py --data phases=etcd,patroni

Each phase stands on a line of its own: pyinfra tells operations apart by the lines that call them.
"""

from pyinfra import host

import plan
from operations import (
    backup_places,
    backup_proofs,
    certificates,
    clone,
    etcd,
    etcd_access,
    firewall,
    haproxy,
    keepalived,
    packages,
    patroni,
    pgbackrest,
    pgbouncer,
    phase,
    preflight,
    readers,
    secrets_file,
    ssh_trust,
    summary,
    system,
    transport,
)

cluster = plan.cluster()
here = cluster.host(host.name)
platform, identity = preflight.identify(cluster, here)
preflight.refuse_mixed(cluster, here, platform)
in_container = bool(identity["container"])
if here.is_postgres:
    preflight.check(cluster, here, platform, plan.secrets_are_new())
if plan.secrets_are_new():
    preflight.refuse_lost_secrets(cluster, here)
if here.is_postgres or here.is_repository:
    transport.refuse_half_a_change(cluster, here)
secrets = plan.secrets()
certificates.refuse_unfit(secrets)
backup_places.refuse_missing_keys(cluster, secrets)

secrets_file.deploy()
if phase.begins("packages"):
    packages.deploy(cluster, here, platform, in_container)
if phase.begins("system"):
    system.deploy(here, platform, in_container)
if phase.begins("firewall"):
    firewall.deploy(cluster, here, identity["ssh_port"])
if phase.begins("ssh_trust") and (here.is_postgres or here.is_repository):
    ssh_trust.deploy(cluster, here, platform)
if phase.begins("certificates"):
    certificates.deploy(cluster, here, secrets)
if phase.begins("pgbackrest") and (here.is_postgres or here.is_repository):
    pgbackrest.configure(cluster, here, platform, secrets, identity["cores"])
    ssh_trust.end_unless_needed(cluster, here, platform)
    if here.is_postgres:
        clone.deploy(cluster, here, platform, identity["cores"])
if phase.begins("etcd") and here.is_etcd:
    etcd.deploy(cluster, here, platform, secrets)
if phase.begins("patroni") and here.is_postgres:
    patroni.deploy(cluster, here, platform, secrets, in_container)
if phase.begins("pgbackrest") and here.is_repository:
    pgbackrest.deploy(cluster)
    readers.deploy(cluster, platform, secrets)
    backup_proofs.deploy(cluster, platform, secrets, identity["cores"])
if phase.begins("haproxy") and here.is_haproxy:
    haproxy.deploy(cluster, platform)
    pgbouncer.deploy(cluster, here, platform)
    keepalived.deploy(cluster, here)
if plan.runs("patroni") and plan.runs("haproxy"):  # behind that line all members have theirs
    etcd_access.tidy(cluster, secrets)
summary.deploy(cluster)
