"""The application's role and database, as the local PostgreSQL knows them."""

import json
from typing import TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

# The stored verifier stays on the host: only its salt and a hash of it are told.
QUERY = """
SELECT json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'role', EXISTS (SELECT FROM pg_roles WHERE rolname = :'role'),
    'database', EXISTS (SELECT FROM pg_database WHERE datname = :'database'),
    'scram', (SELECT split_part(rolpassword, '$', 2) FROM pg_authid WHERE rolname = :'role'),
    'sha256', (SELECT encode(sha256(rolpassword::bytea), 'hex')
               FROM pg_authid WHERE rolname = :'role'))
"""


# The same for roles that Patroni made: name, "iterations:salt" and hash of each.
ROLES = """
SELECT json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'roles', (SELECT coalesce(json_object_agg(rolname, json_build_array(
        split_part(rolpassword, '$', 2), encode(sha256(rolpassword::bytea), 'hex'))), '{}')
              FROM pg_authid WHERE rolname = ANY (string_to_array(:'roles', ','))))
"""


class Verifiers(TypedDict):
    """`roles` has ("iterations:salt", hash of the stored verifier) by name; None without."""

    in_recovery: bool
    roles: dict[str, tuple[str | None, str | None]]


class StoredVerifiers(FactBase[Verifiers | None]):
    """Return what PostgreSQL keeps of passwords, or None where it does not answer.

    + psql: path of psql
    + port: PostgreSQL's port
    + roles: names of roles
    """

    @override
    def command(self, psql: str, port: int, roles: list[str]) -> StringCommand:
        return StringCommand(
            "cd / && if test -x", QuoteString(psql), "; then echo",
            QuoteString(" ".join(ROLES.split())),
            "| runuser -u postgres --", QuoteString(psql), "-XAtq -p", QuoteString(str(port)),
            "-v", QuoteString(f"roles={','.join(roles)}"),
            "2>/dev/null || echo null; else echo null; fi",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Verifiers | None:
        answer: Verifiers | None = json.loads(output[-1])
        return answer


class Application(TypedDict):
    """`scram` is "iterations:salt" and `sha256` the hash of the stored verifier; None without."""

    in_recovery: bool
    role: bool
    database: bool
    scram: str | None
    sha256: str | None


class ApplicationRole(FactBase[Application | None]):
    """Return what exists of the application, or None where PostgreSQL does not answer.

    + psql: path of psql
    + port: PostgreSQL's port
    + role: name of the role
    + database: name of the database
    """

    @override
    def command(self, psql: str, port: int, role: str, database: str) -> StringCommand:
        return StringCommand(
            "cd / && if test -x", QuoteString(psql), "; then echo",
            QuoteString(" ".join(QUERY.split())),
            "| runuser -u postgres --", QuoteString(psql), "-XAtq -p", QuoteString(str(port)),
            "-v", QuoteString(f"role={role}"), "-v", QuoteString(f"database={database}"),
            "2>/dev/null || echo null; else echo null; fi",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Application | None:
        answer: Application | None = json.loads(output[-1])
        return answer
