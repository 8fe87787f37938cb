"""Put back the data that was there before a restore, or give up one that is not finished.

    pyinfra inventory.py day2/restore_undo.py --dry
    pyinfra inventory.py day2/restore_undo.py -y --data target=20260301T143000Z \\
        --data confirm=<the cluster's name>

The target says which <data directory>.before-... is put back; a restore that is not finished is
given up without one. Exactly one host's must have been shut down as the primary: that has all
commits. What runs now is put aside in the same way, so one can go forth again. A run may be killed
anywhere: the same command goes on.
"""

from pyinfra import host

import plan
from operations import (
    patroni,
    phase,
    preflight,
    proofs,
    restore,
    restore_end,
    restore_members,
    restore_start,
    restore_undo,
)

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
plan.refuse_without_secrets(", and members of a cluster need its passwords")
secrets = plan.secrets()
chosen = restore_undo.plan_of_run(cluster, platform)
is_put_back = here.name == chosen.host  # nobody is where the restore had not stopped the primary

if here.is_postgres and not chosen.host:
    restore_undo.given_up(name="Give the restore up", cluster=cluster)
if here.is_postgres and chosen.host:
    restore_start.noted(name="Write the plan down", cluster=cluster, platform=platform, plan=chosen)
if chosen.host:
    restore_members.stop_all(cluster, here, platform, chosen)
phase.reached(name="== a new timeline ==")
if here.is_postgres and chosen.host:
    restore.promoted(name="Promote the old data", cluster=cluster, platform=platform, plan=chosen)
phase.reached(name="== the old data takes its place ==")
if here.is_postgres and chosen.host:
    restore_members.swapped(
        name="Put back the old data", cluster=cluster, platform=platform, plan=chosen
    )
    restore_end.led(name="Wait until it leads", cluster=cluster, plan=chosen)
if is_put_back:
    restore_end.settle(cluster, here, platform, secrets)
phase.reached(name="== the first backup of it ==")
if here.is_repository and chosen.host:
    restore_end.owned(name="Let the archive be its own", cluster=cluster, plan=chosen)
    restore_end.backed_up(name="Take a full backup", cluster=cluster, plan=chosen)
phase.reached(name="== replicas ==")
if here.is_postgres:
    if chosen.host:
        restore_members.rebuilt(
            name="Start the replicas on theirs", cluster=cluster, platform=platform, plan=chosen
        )
    patroni.healthy(name="Wait until this member leads or streams", cluster=cluster, here=here)
phase.reached(name="== done ==")
if here.is_postgres and chosen.host and not is_put_back:
    restore_end.finished(name="Forget the plan", cluster=cluster, platform=platform, plan=chosen)
# Whoever leads keeps it longest: where no data was moved, it alone tells that nobody has to stop.
phase.reached(name="== all others have forgotten ==")
if is_put_back:
    restore_end.finished(
        name="Say what came of it", cluster=cluster, platform=platform, plan=chosen
    )
phase.reached(name="== proof ==")
proofs.deploy(cluster, here, platform, secrets)
