"""What PostgreSQL lets PgBouncer ask, as the local PostgreSQL knows it."""

import json
from typing import TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

QUERY = """
SELECT json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'role', EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgbouncer' AND rolcanlogin),
    'source', (SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('pgbouncer.verifier(text)')),
    'open_to', (SELECT coalesce(json_agg(coalesce(r.rolname, 'public') ORDER BY 1), '[]')
                FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                LEFT JOIN pg_roles r ON r.oid = a.grantee
                WHERE p.oid = to_regprocedure('pgbouncer.verifier(text)')
                AND a.grantee <> p.proowner))
"""


class Access(TypedDict):
    """`source` is the function's body, None without one; `open_to` who may call it."""

    in_recovery: bool
    role: bool
    source: str | None
    open_to: list[str]


class PoolerAccess(FactBase[Access | None]):
    """Return what PgBouncer may ask of PostgreSQL, or None where that does not answer.

    + psql: path of psql
    + port: PostgreSQL's port
    """

    @override
    def command(self, psql: str, port: int) -> StringCommand:
        return StringCommand(
            "cd / && if test -x", QuoteString(psql), "; then echo",
            QuoteString(" ".join(QUERY.split())),
            "| runuser -u postgres --", QuoteString(psql), "-XAtq -p", QuoteString(str(port)),
            "2>/dev/null || echo null; else echo null; fi",
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Access | None:
        answer: Access | None = json.loads(output[-1])
        return answer
