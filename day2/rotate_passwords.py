"""Change all passwords, or some, while the cluster runs; writes go on.

    pyinfra inventory.py day2/rotate_passwords.py -y
    pyinfra inventory.py day2/rotate_passwords.py -y --data secrets=replication,app

The passphrase of the backups and the authority stay: pgBackRest cannot change a repository's
passphrase, and every certificate hangs on the authority. Where the secrets come from a command,
change them there first: this brings what it prints to all hosts. The application gets its new
password from you: sessions stay, new ones need it as soon as this has changed it.

A run may be killed anywhere. The secrets file holds the new passwords before any host does, and
no step needs an old one from it: PostgreSQL takes passwords over its local socket, etcd from the
etcdctl of its host, which keeps a password that is good until it has another; files come by SSH.
So this again, or any deploy, ends with the file and every host agreed.

Each password is good before somebody needs it, and no old one goes before all have the new: etcd
gets a second user; but for PostgreSQL's roles, which have one password. A replica whose connection
breaks between ALTER ROLE and its reload is refused and tries again until then, some ten seconds;
the primary waits for no replica, and its slot keeps the WAL.
"""

from pyinfra import host

import plan
from operations import (
    application,
    etcd_access,
    patroni,
    phase,
    preflight,
    rotation,
    secrets_file,
)

cluster = plan.cluster()
here = cluster.host(host.name)
platform, identity = preflight.identify(cluster, here)
plan.refuse_without_secrets(
    ", so nothing can be kept in it", "deploy first, or bring the file to this machine."
)
rotation.refuse_without_members(cluster)
secrets = plan.rotated_secrets()

if here.is_postgres:
    rotation.ready(name="See whether the cluster is well", cluster=cluster)
phase.reached(name="== secrets ==")
secrets_file.rotate()
phase.reached(name="== etcd ==")
if here.is_etcd:
    etcd_access.client(
        name="Let new passwords of etcd in", cluster=cluster, here=here, secrets=secrets
    )
phase.reached(name="== PostgreSQL ==")
if here.is_postgres:
    application.own_roles(
        name="Give PostgreSQL's own roles their passwords",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
    )
phase.reached(name="== Patroni ==")
if here.is_postgres:
    patroni.member(
        name="Let Patroni reload",
        cluster=cluster,
        here=here,
        platform=platform,
        secrets=secrets,
        in_container=bool(identity["container"]),
    )
    rotation.taken_over(
        name="Wait until Patroni has", cluster=cluster, here=here, platform=platform
    )
    application.role_and_database(
        name="Give the application's role its password",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
    )
phase.reached(name="== proof ==")
if here.is_postgres:
    patroni.healthy(name="Wait until this member leads or streams", cluster=cluster, here=here)
    rotation.streams(
        name="Prove replication with the new password",
        cluster=cluster,
        here=here,
        platform=platform,
    )
if here.is_haproxy:
    rotation.writes(
        name="Prove writes with the new password",
        cluster=cluster,
        here=here,
        platform=platform,
        secrets=secrets,
    )
phase.reached(name="== old passwords ==")
etcd_access.tidy(cluster, secrets)
