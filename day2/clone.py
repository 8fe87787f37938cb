"""Make this cluster a copy of another one, from that one's repository, as of any moment.

    pyinfra inventories/copy.py day2/clone.py --dry --data target="2026-03-01 14:30:00+01:00"
    pyinfra inventories/copy.py day2/clone.py -y --data target=... --data confirm=<the copy's name>

Both clusters are deployed before; `pgbackrest_source` here and `pgbackrest_readers` there say who
reads what (docs/operations.md). Targets are those of day2/restore.py, which this is but for the
place; a killed run goes on in the same way. The database that was here is put aside; names,
passwords and the archive stay this cluster's own.
"""

from pyinfra import host

import plan
from operations import clone, preflight, restore_run, restore_start

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)
plan.refuse_without_secrets(", and members of a clone need its own passwords")
chosen = restore_start.plan_of_run(cluster, platform, lambda: clone.source(cluster, platform))

restore_run.deploy(cluster, here, platform, plan.secrets(), chosen)
