"""Take the whole cluster back to an earlier moment, in place; the old data stays beside it.

    pyinfra inventory.py day2/restore.py --dry --data target="2026-03-01 14:30:00+01:00"
    pyinfra inventory.py day2/restore.py -y --data target=... --data confirm=<the cluster's name>

A target is latest, a time with its zone, an LSN, xid:<number>, name:<restore point>, or a backup's
label for its end. One that cannot be reached is refused while the cluster still runs: a backup is
restored beside the data of one member and recovered up to the target first. Only then everybody is
stopped, and that member leads with what was restored; the others are filled from a new full backup.

`--data repository=<its name>` restores from another repository than the first one.

A run may be killed anywhere: the same command again goes on. day2/restore_undo.py goes back.
"""

from pyinfra import host

import plan
from operations import (
    application,
    patroni,
    patroni_changes,
    pgbouncer,
    phase,
    preflight,
    proofs,
    restore,
    restore_end,
    restore_members,
    restore_start,
)

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
plan.refuse_without_secrets(", and members of a restored cluster need its passwords")
secrets = plan.secrets()
chosen = restore_start.plan_of_run(cluster, platform)
is_restored = here.name == chosen.host

phase.reached(name="== beside the data, while the cluster runs ==")
if here.is_postgres:
    restore_start.noted(name="Write the plan down", cluster=cluster, platform=platform, plan=chosen)
if here.is_repository:
    restore.archived(name="Archive all there is", cluster=cluster, platform=platform, plan=chosen)
phase.reached(name="== what is archived is all there is ==")
if here.is_postgres:
    restore.reached(
        name="Restore a backup beside the data, up to the target",
        cluster=cluster,
        platform=platform,
        plan=chosen,
    )
phase.reached(name="== from here on the cluster is stopped ==")
restore_members.stop_all(cluster, here, platform, chosen)
phase.reached(name="== a new timeline ==")
if here.is_postgres:
    restore.promoted(
        name="Promote what was restored", cluster=cluster, platform=platform, plan=chosen
    )
phase.reached(name="== the old data makes room ==")
if here.is_postgres:
    restore_members.swapped(
        name="Put the old data aside and start the restored",
        cluster=cluster,
        platform=platform,
        plan=chosen,
    )
    restore_end.led(name="Wait until it leads", cluster=cluster, plan=chosen)
if is_restored:
    restore_end.settle(cluster, here, platform, secrets)
phase.reached(name="== the first backup of it ==")
if here.is_repository:
    restore_end.backed_up(name="Take a full backup", cluster=cluster, plan=chosen)
phase.reached(name="== replicas ==")
if here.is_postgres:
    restore_members.rebuilt(
        name="Put the replicas' old data aside and fill them",
        cluster=cluster,
        platform=platform,
        plan=chosen,
    )
    patroni.healthy(name="Wait until this member leads or streams", cluster=cluster, here=here)
    application.role_and_database(
        name="Make the application's role and database",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
    )
    pgbouncer.access(name="Let PgBouncer ask for verifiers", cluster=cluster, platform=platform)
    if is_restored:
        patroni_changes.pending_restarts(
            name="Restart members that need it, one by one", cluster=cluster, platform=platform
        )
phase.reached(name="== done ==")
if here.is_postgres:
    restore_end.finished(
        name="Say what came of it", cluster=cluster, platform=platform, plan=chosen
    )
phase.reached(name="== proof ==")
proofs.deploy(cluster, here, platform, secrets)
