"""How far a member has come with the live configuration: Patroni first, then its PostgreSQL."""

import json
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from facts.patroni import ASK

# A new session has what the postmaster has: when it read its file, and what it could not change.
QUERY = (
    "SELECT json_build_object('loaded', extract(epoch FROM pg_conf_load_time()), 'waiting',"
    " (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart))"
)


class Applied(TypedDict):
    """One member beside the live configuration.

    `taken`: Patroni has acted on it (it caches it only then); `loaded`: the postmaster has read
    the file that Patroni wrote; `waiting`: parameters that PostgreSQL cannot change without a
    restart; `flagged`: Patroni knows that a restart is pending.
    """

    taken: bool
    loaded: bool
    waiting: list[str]
    flagged: bool


class AppliedConfiguration(FactBase[Applied | None]):
    """Return how far this member has come, or None where Patroni or PostgreSQL does not answer.

    + url: base URL of the member's REST interface
    + data_dir: PostgreSQL's data directory
    + psql: path of psql
    + port: PostgreSQL's port
    """

    @override
    def requires_command(self, url: str, data_dir: str, psql: str, port: int) -> str:
        return "curl"

    @override
    def command(self, url: str, data_dir: str, psql: str, port: int) -> StringCommand:
        return StringCommand(
            'cd / && tell() { said=$("$@" 2>/dev/null) || said=null; echo "$said"; };'
            f" tell {ASK}", QuoteString(f"{url}/config"),
            f"; tell {ASK}", QuoteString(f"{url}/patroni"),
            "; tell cat", QuoteString(f"{data_dir}/patroni.dynamic.json"),
            "; tell stat -c %.Y", QuoteString(f"{data_dir}/postgresql.conf"),
            "; tell runuser -u postgres --", QuoteString(psql), "-XAtq -p",
            QuoteString(str(port)), "-c", QuoteString(QUERY),
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Applied | None:
        answers = [json.loads(line) for line in output]
        if None in answers:
            return None
        live, status, cached, written, postgresql = answers
        return Applied(
            taken=_as_text(live) == _as_text(cached),
            loaded=postgresql["loaded"] >= written,
            waiting=postgresql["waiting"],
            flagged=bool(status.get("pending_restart")),
        )


def _as_text(value: Any) -> Any:
    """Return values as Patroni compares them: 100 and "100" are the same to it."""
    if isinstance(value, dict):
        return {key: _as_text(inner) for key, inner in value.items()}
    return str(value)
