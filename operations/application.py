"""The first application's role and database, made on the primary wherever that is."""

import hashlib

from pyinfra import host, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from cluster import Cluster
from credentials import Secrets
from facts.application import ApplicationRole
from operations import Commands
from platforms import Platform
from scram import verifier


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
    yield StringCommand(
        "cd / && runuser -u postgres --", QuoteString(psql), "-XAtq -v ON_ERROR_STOP=1 -p",
        QuoteString(str(port)),
        _stdin="\n".join(["SET log_statement = 'none';", *statements]),
    )  # fmt: skip


def _has_password(scram: str | None, sha256: str | None, password: str) -> bool:
    if not scram or not sha256:
        return False
    return hashlib.sha256(verifier(password, scram).encode()).hexdigest() == sha256
