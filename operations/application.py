"""Roles and their passwords, set on the primary wherever that is; a verifier is all it learns."""

import hashlib
from collections.abc import Sequence

from pyinfra import host, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from cluster import Cluster
from credentials import Secrets
from facts.application import ApplicationRole, StoredVerifiers, Verifiers
from operations import Commands
from operations.waiting import wait_until
from platforms import Platform
from scram import verifier

# So that no statement, whose text would hold a verifier, comes into PostgreSQL's log.
UNSEEN = (
    "SET log_statement = 'none';",
    "SET log_min_duration_statement = -1;",
    "SET log_min_duration_sample = -1;",
    "SET log_transaction_sample_rate = 0;",
    "SET log_duration = off;",
    "SET log_min_error_statement = 'panic';",
)
# A replica that replays at all has it within a second or two.
REPLAYED_SECONDS = 120.0
REPLAY_HINT = (
    "the primary sets passwords, and replicas replay that: run this without --limit, and look at"
    " `patronictl list`."
)


@operation()
def own_roles(
    cluster: Cluster, platform: Platform, secrets: Secrets, alone: bool = False
) -> Commands:
    """
    Give superuser, replication and rewind the passwords of the secrets, on every member.

    + cluster: the whole cluster
    + platform: of this host
    + secrets: the cluster's passwords
    + alone: there is no replica yet that could confirm, so none is waited for

    The primary sets what differs, over the local socket, which asks for no password; a replica
    waits until it has replayed that, so that whoever leads next knows the same. Sessions stay,
    and so do streams: a password is asked for when one begins.

    **Example:**

    .. code:: python

        application.own_roles(
            name="Set passwords", cluster=cluster, platform=platform, secrets=secrets
        )
    """
    psql, port = f"{platform.postgresql_bin}/psql", cluster.postgresql.port
    passwords = {
        "postgres": secrets.superuser,
        "replicator": secrets.replication,
        "rewind_user": secrets.rewind,
    }

    def ask() -> Verifiers | None:
        found: Verifiers | None = host.get_fact(
            StoredVerifiers, psql=psql, port=port, roles=list(passwords)
        )
        return found

    def others(found: Verifiers | None) -> list[str]:
        stored = found["roles"] if found else {}
        return [name for name in stored if not _has_password(*stored[name], passwords[name])]

    found = ask()
    if found is None:
        host.noop("PostgreSQL does not answer; Patroni makes its roles when it first starts")
    elif not others(found):
        host.noop("the roles have their passwords")
    elif found["in_recovery"]:
        if state.is_executing:
            wait_until(
                "replaying new passwords", lambda: not others(ask()), REPLAYED_SECONDS, REPLAY_HINT
            )
        host.noop("a replica gets passwords from the primary")
    else:
        stored = {name: verifier(passwords[name]) for name in others(found)}
        first = ["SET synchronous_commit = local;"] if alone else []
        changes = [f"ALTER ROLE {name} PASSWORD '{one}';" for name, one in stored.items()]
        yield sql(psql, port, [*first, *changes])


@operation()
def role_and_database(cluster: Cluster, platform: Platform, secrets: Secrets) -> Commands:
    """
    Make the application's role and database, and give the role the password of the secrets.

    + cluster: the whole cluster
    + platform: of this host
    + secrets: the cluster's passwords

    Runs on every database host; only the primary has anything to do. The password arrives as a
    SCRAM verifier over stdin.

    **Example:**

    .. code:: python

        application.role_and_database(
            name="Make the application's role", cluster=cluster, platform=platform, secrets=secrets
        )
    """
    role, database = cluster.app.role, cluster.app.database
    psql, port = f"{platform.postgresql_bin}/psql", cluster.postgresql.port
    found = host.get_fact(ApplicationRole, psql=psql, port=port, role=role, database=database)
    if found is None:
        if state.is_executing:
            raise OperationError(
                f"PostgreSQL on {host.name} does not answer\n"
                "    HINT: look at `journalctl -u patroni` there."
            )
        host.noop("PostgreSQL does not answer yet")
        return
    if found["in_recovery"]:
        host.noop("a replica gets the role from the primary")
        return
    statements = []
    if not found["role"]:
        statements.append(f'CREATE ROLE "{role}" LOGIN;')
    if not _has_password(found["scram"], found["sha256"], secrets.app):
        statements.append(f"ALTER ROLE \"{role}\" PASSWORD '{verifier(secrets.app)}';")
    if not found["database"]:
        statements.append(f'CREATE DATABASE "{database}" OWNER "{role}";')
    if not statements:
        host.noop("role and database are there")
        return
    yield sql(psql, port, statements)


def sql(psql: str, port: int, statements: Sequence[str]) -> StringCommand:
    """Return what runs statements as the superuser over the local socket, and logs none."""
    return StringCommand(
        "cd / && runuser -u postgres --", QuoteString(psql), "-XAtq -v ON_ERROR_STOP=1 -p",
        QuoteString(str(port)),
        _stdin="\n".join([*UNSEEN, *statements]),
    )  # fmt: skip


def _has_password(scram: str | None, sha256: str | None, password: str) -> bool:
    if not scram or not sha256:
        return False
    return hashlib.sha256(verifier(password, scram).encode()).hexdigest() == sha256
