"""PgBouncer: transaction pooling on every HAProxy host, and no password in any file of it.

Clients log in by SCRAM against the verifiers that PostgreSQL keeps. PgBouncer asks for those as
the role `pgbouncer`, which proves itself by a certificate and has no password. What a client proved
itself with is what PgBouncer logs in to PostgreSQL with.
"""

from pyinfra import host, state
from pyinfra.api import OperationError, StringCommand, operation

from cluster import Cluster, Host
from facts.pooler import PoolerAccess
from identities import AUTHORITY, Identity
from operations import Commands, application, config_files
from operations.config_files import File
from platforms import Platform

UNIT, USER = "pgbouncer.service", "pgbouncer"
UNITS = "/etc/systemd/system"
CONFIG = "/etc/pgbouncer/pgbouncer.ini"
SOCKET_DIR = "/run/pgbouncer"
HOLD, HOLD_UNIT = "/usr/local/bin/pgha-hold", "pgha-hold.service"
# So long a transaction may take that a switchover waits for, and the switchover itself.
DRAIN_SECONDS, HOLD_SECONDS = 10, 30
# Whose verifier is told: roles that applications log in as, never one of the cluster's own.
VERIFIER = (
    "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = role AND rolcanlogin"
    " AND NOT rolsuper AND NOT rolreplication AND NOT rolname = 'rewind_user'"
    " AND coalesce(rolvaliduntil, 'infinity') > now()"
)
ACCESS = (
    "DO 'BEGIN CREATE ROLE pgbouncer; EXCEPTION WHEN duplicate_object THEN END';",
    "ALTER ROLE pgbouncer LOGIN PASSWORD NULL;",
    "CREATE SCHEMA IF NOT EXISTS pgbouncer;",
    "CREATE OR REPLACE FUNCTION pgbouncer.verifier(role text)"
    " RETURNS TABLE (rolname text, rolpassword text) LANGUAGE sql STABLE SECURITY DEFINER"
    f" SET search_path = pg_catalog AS $${VERIFIER}$$;",
    "REVOKE ALL ON FUNCTION pgbouncer.verifier(text) FROM PUBLIC;",
    "GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;",
    "GRANT EXECUTE ON FUNCTION pgbouncer.verifier(text) TO pgbouncer;",
)


def deploy(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Pool connections on this host."""
    pool(name="Configure and start PgBouncer", cluster=cluster, here=here, platform=platform)


@operation()
def user() -> Commands:
    """
    Make the user that PgBouncer runs as, where its package did not.

    **Example:**

    .. code:: python

        pgbouncer.user(name="Make PgBouncer's user")
    """
    wanted = [File("/etc/sysusers.d/pgha-pgbouncer.conf", f"u {USER} - PgBouncer\n")]
    different = config_files.differing(wanted, config_files.read(wanted))
    if not different:
        host.noop("PgBouncer has its user")
    yield from config_files.written(different, "systemd-sysusers")


@operation()
def access(cluster: Cluster, platform: Platform) -> Commands:
    """
    Let PgBouncer ask PostgreSQL for the verifiers of applications' roles, and for nothing else.

    + cluster: the whole cluster
    + platform: of this host

    Runs on every database host; only the primary has anything to do.

    **Example:**

    .. code:: python

        pgbouncer.access(name="Let PgBouncer ask", cluster=cluster, platform=platform)
    """
    psql, port = f"{platform.postgresql_bin}/psql", cluster.postgresql.port
    found = host.get_fact(PoolerAccess, psql=psql, port=port)
    if found is None:
        if state.is_executing:
            raise OperationError(
                f"PostgreSQL on {host.name} does not answer\n"
                "    HINT: look at `journalctl -u patroni` there."
            )
        host.noop("PostgreSQL does not answer yet")
    elif found["in_recovery"]:
        host.noop("a replica gets that from the primary")
    elif found["role"] and found["source"] == VERIFIER and found["open_to"] == [USER]:
        host.noop("PgBouncer may ask")
    else:
        yield application.sql(psql, port, ACCESS)


@operation()
def pool(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Write PgBouncer's configuration and what holds its sessions; start it or let it reload.

    + cluster: the whole cluster
    + here: this HAProxy host
    + platform: of this host

    **Example:**

    .. code:: python

        pgbouncer.pool(name="PgBouncer", cluster=cluster, here=here, platform=platform)
    """
    values = {
        "cluster": cluster,
        "authority": AUTHORITY,
        "identity": Identity(USER, here.name),
        "socket_dir": SOCKET_DIR,
        "psql": f"{platform.postgresql_bin}/psql",
        "hold": HOLD,
        "drain_seconds": DRAIN_SECONDS,
        "hold_seconds": HOLD_SECONDS,
    }
    drop_in = File(f"{UNITS}/{UNIT}.d/pgha.conf", config_files.render("pgbouncer.service.conf.j2"))
    wanted = [
        drop_in,
        File(HOLD, config_files.render("pgha-hold.j2", **values), mode="755"),
        File(f"{UNITS}/{HOLD_UNIT}", config_files.render("pgha-hold.service.j2", **values)),
        File(CONFIG, config_files.render("pgbouncer.ini.j2", **values), USER, USER, "640"),
    ]
    found = config_files.read(wanted, [UNIT])
    different = config_files.differing(wanted, found)
    # Debian's package starts it at once, as another user.
    is_ours = config_files.holds(drop_in, found, different, UNIT)
    ready = is_ours and config_files.unit_is_ready(found, UNIT)
    if ready and not different:
        host.noop("PgBouncer runs with this configuration")
        return
    start = f"systemctl enable {UNIT} && systemctl restart {UNIT}"
    if ready:  # a reload takes everything but another port
        answers = f"bash -c '</dev/tcp/127.0.0.1/{cluster.pgbouncer.port}' 2>/dev/null"
        start = f"systemctl reload {UNIT} && {{ {answers} || systemctl restart {UNIT}; }}"
    start = f"systemctl daemon-reload && {start}"
    if different:
        yield from config_files.written(different, start)
    else:
        yield StringCommand(start)
