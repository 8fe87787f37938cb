"""Tables of the past: from a copy on the repository host into a dump, and beside those of today."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import click
from pyinfra import host, state
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.exceptions import DeployError

import plan
from backup_repositories import MAIN
from cluster import Cluster
from credentials import Secrets
from decisions import Refusal
from identities import AUTHORITY
from operations import Commands, restore_choice, restore_plan
from operations.backup_proofs import REHEARSAL
from operations.restore_start import GOALS
from platforms import Platform
from recovery import route
from recovery_target import FORMS, parse

UNIT = "pgha-restore-table"
# In a shell and in SQL nothing of it needs quotes; names in capitals do, and are not taken.
TABLE = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
DATABASE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Wish:
    """What is wanted back, and how the repository leads there.

    + tables: with or without their schema; none is the whole database
    + goal: the lines of postgresql.conf that end the recovery at the target
    + labels: of the backups that may lead there, the first to try first
    + size: bytes of the largest of them, as a database
    + schema: into which the tables are loaded beside those of today
    + file: the dump, on the repository host
    """

    target: str
    database: str
    tables: tuple[str, ...]
    goal: str
    labels: tuple[str, ...]
    size: int
    schema: str
    file: str
    is_loaded: bool


def wish_of_run(cluster: Cluster) -> Wish:
    """Return what `--data` asks for, on the repository host; raises DeployError."""
    text = str(host.data.get("target") or "")
    database = str(host.data.get("database") or cluster.app.database)
    words, load = str(host.data.get("tables") or ""), host.data.get("load")
    tables = tuple(name.strip() for name in words.split(",")) if words else ()
    is_loaded = load is not None
    try:
        if not text:
            raise Refusal("no target is given", f"add --data target=, {FORMS}")
        if load not in (None, "yes"):
            raise Refusal(f"load={load} is neither yes nor left out", "--data load=yes")
        if host.data.get("repository", MAIN) != MAIN:
            raise Refusal(
                f"tables come from the repository {MAIN} only",
                "leave repository= out: day2/restore.py takes the whole cluster back from any.",
            )
        _refuse_unfit(cluster, database, tables, is_loaded)
        target = parse(text)
        backups, archive = restore_choice.held(restore_choice.own_place(cluster, MAIN))
        way = route(target, backups["backups"], archive, backups["now"])
    except Refusal as refusal:
        raise DeployError(str(refusal)) from None
    follow = "current" if target.kind == "backup" else "latest"  # which is the way's
    goal = f"recovery_target_timeline = '{follow}'\nrecovery_target_action = promote\n"
    stamp = restore_plan.stamp().lower().rstrip("z").replace("t", "_")
    return Wish(
        target=text,
        database=database,
        tables=tables,
        goal=goal + GOALS[target.kind].format(target.value),
        labels=tuple(backup.label for backup in way.backups),
        size=max(backup.size for backup in way.backups),
        schema=f"restored_{stamp}",
        file=f"{cluster.pgbackrest.rehearsal_path}/dumps/{database}-{stamp}.dump",
        is_loaded=is_loaded,
    )


def _refuse_unfit(cluster: Cluster, database: str, tables: Sequence[str], is_loaded: bool) -> None:
    for name in tables:
        if not TABLE.fullmatch(name):
            raise Refusal(
                f"{name!r} cannot be the name of a table here",
                "tables=public.orders,items; names in capitals only come with the whole database.",
            )
    if not DATABASE.fullmatch(database):
        raise Refusal(f"{database!r} cannot be the name of a database here", "database=app")
    if is_loaded and not tables:
        raise Refusal(
            "a whole database is dumped, and not loaded beside the live one",
            "name tables=, or create a database and pg_restore the dump into it.",
        )
    if is_loaded and database != cluster.app.database:
        raise Refusal(
            f"only tables of {cluster.app.database} can be loaded: {cluster.app.role} can reach no"
            " other database from here",
            "leave load= out, and pg_restore the dump.",
        )


@operation()
def dumped(wish: Wish) -> Commands:
    """
    Restore a backup on the repository host, recover it to the target, and dump what is wanted.

    + wish: what is wanted

    The cluster is not touched. Only the dump is left, readable by postgres.

    **Example:**

    .. code:: python

        restore_table.dumped(name="Dump the tables as they were", wish=wish)
    """
    host.log(f"this may take long; `systemctl status {UNIT}` on {host.name} shows whether it runs")
    # It goes on, and cleans up behind itself, when the connection from here is lost.
    words = [wish.file, wish.database, wish.schema, " ".join(wish.tables), wish.goal]
    yield StringCommand(
        "cd / && systemd-run --quiet --wait --collect --pipe --unit", UNIT,
        "--uid postgres --gid postgres --nice 19",
        f"--property ExecStopPost='{REHEARSAL} clean'", REHEARSAL, "dump",
        *map(QuoteString, [*words, str(wish.size), *wish.labels]),
    )  # fmt: skip


@operation()
def loaded(cluster: Cluster, platform: Platform, secrets: Secrets, wish: Wish) -> Commands:
    """
    Load the tables into a schema of their own, beside those of today; all of them or none.

    + cluster: the whole cluster
    + platform: of this host
    + secrets: the cluster's secrets, the application's password among them
    + wish: what is wanted

    **Example:**

    .. code:: python

        restore_table.loaded(
            name="Load", cluster=cluster, platform=platform, secrets=secrets, wish=wish
        )
    """
    members = ",".join(member.address for member in cluster.postgres_members)
    ports = ",".join(str(cluster.postgresql.port) for _ in cluster.postgres_members)
    where = (
        f"host={members} port={ports} target_session_attrs=read-write dbname={wish.database}"
        f" user={cluster.app.role} sslmode=verify-full sslrootcert={AUTHORITY}"
    )
    yield StringCommand(
        "cd / && IFS= read -r PGPASSWORD && export PGPASSWORD && runuser -u postgres --",
        f"{platform.postgresql_bin}/pg_restore", "--single-transaction --exit-on-error",
        "--no-owner --no-privileges -d", QuoteString(where), QuoteString(wish.file),
        _stdin=f"{secrets.app}\n",
    )  # fmt: skip


@operation()
def told(wish: Wish) -> Commands:
    """
    Say where the tables are now.

    + wish: what was wanted

    **Example:**

    .. code:: python

        restore_table.told(name="Report", wish=wish)
    """
    if state.is_executing:
        what = ", ".join(wish.tables) or "all"
        lines = ["", f"{what} of {wish.database} as of {wish.target}:"]
        if wish.is_loaded:
            lines.append(f"  loaded  schema {wish.schema} of {wish.database}, beside the live ones")
        lines += [
            f"  dump    {host.name}: {wish.file}",
            "  Both stay until you remove them.",
        ]
        for line in lines:
            click.echo(line, err=bool(plan.command_line.get("json_output")))
    host.noop("it is there")
    yield from ()
