"""Bring tables or a database of the past back beside what is live; the cluster is not touched.

    pyinfra inventory.py day2/restore_table.py -y \\
        --data target="2026-03-01 14:29:00+01:00" --data tables=public.orders,public.items
    ... --data load=yes                     # and into a schema of their own in the live database
    ... --data database=shop                # a whole database; with tables=, these of it

What was committed until now is archived first, if the database hosts take part. A copy is restored
on the repository host, where rehearsals have their room, recovered to the target, dumped, and
removed. Targets are those of day2/restore.py. What is loaded has columns and rows, and no indexes,
keys or triggers: take from it what is missing (INSERT … SELECT), then drop the schema.
"""

from pyinfra import host

import plan
from operations import preflight, restore, restore_table

cluster = plan.cluster()
here = cluster.host(host.name)
platform, _ = preflight.identify(cluster, here)

if here.is_repository:
    wish = restore_table.wish_of_run(cluster)
    if wish.is_loaded:
        plan.refuse_without_secrets(", and loading needs the application's password")
    restore.archived(name="Archive all there is", cluster=cluster, platform=platform)
    restore_table.dumped(name="Dump what was there", wish=wish)
    if wish.is_loaded:
        restore_table.loaded(
            name="Load it beside what is live",
            cluster=cluster,
            platform=platform,
            secrets=plan.secrets(),
            wish=wish,
        )
    restore_table.told(name="Say where it is", wish=wish)
