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
from operations import preflight, restore_run, restore_start

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
plan.refuse_without_secrets(", and members of a restored cluster need its passwords")
chosen = restore_start.plan_of_run(cluster, platform, lambda: restore_start.chosen_place(cluster))

restore_run.deploy(cluster, here, platform, plan.secrets(), chosen)
