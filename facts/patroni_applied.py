"""How far a member has come with the live configuration: Patroni first, then its PostgreSQL."""

import json
from typing import Any, TypedDict

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from identities import ASK

# A new session has what the postmaster has: when it read its file, and what it could not change.
# What a standby's file says of the end of recovery is gone when it leads, and means nothing then.
QUERY = (
    "SELECT json_build_object('loaded', extract(epoch FROM pg_conf_load_time()), 'waiting',"
    " (SELECT coalesce(json_agg(name), '[]') FROM pg_settings"
    " WHERE pending_restart AND NOT starts_with(name, 'recovery_target')))"
)


class Applied(TypedDict):
    """One member beside the configurations it should run by.

    `configuration`: the live one that Patroni has acted on (it is cached only then); `reloaded`:
    Patroni has acted on its own file, too; `loaded`: the postmaster has read what Patroni wrote;
    `waiting`: parameters that PostgreSQL cannot change without a restart; `flagged`: Patroni knows
    that a restart is pending.
    """

    configuration: dict[str, Any]
    reloaded: bool
    loaded: bool
    waiting: list[str]
    flagged: bool


class AppliedConfiguration(FactBase[Applied | None]):
    """Return what this member runs by, or None where Patroni or PostgreSQL does not answer.

    + url: base URL of the member's REST interface
    + patroni_config: Patroni's own file
    + data_dir: PostgreSQL's data directory
    + psql: path of psql
    + port: PostgreSQL's port
    """

    @override
    def requires_command(
        self, url: str, patroni_config: str, data_dir: str, psql: str, port: int
    ) -> str:
        return "curl"

    @override
    def command(
        self, url: str, patroni_config: str, data_dir: str, psql: str, port: int
    ) -> StringCommand:
        # Not GET /config: a member tells that from its memory, which may be a loop old.
        return StringCommand(
            'cd / && tell() { said=$("$@" 2>/dev/null) || said=null; echo "$said"; };'
            " tell cat", QuoteString(f"{data_dir}/patroni.dynamic.json"),
            f"; tell {ASK}", QuoteString(f"{url}/patroni"),
            "; for file in", QuoteString(patroni_config), QuoteString(f"{data_dir}/pg_hba.conf"),
            QuoteString(f"{data_dir}/postgresql.conf"), '; do tell stat -c %.Y "$file"; done',
            "; tell runuser -u postgres --", QuoteString(psql), "-XAtq -p",
            QuoteString(str(port)), "-c", QuoteString(QUERY),
        )  # fmt: skip

    @override
    def process(self, output: list[str]) -> Applied | None:
        answers = [json.loads(line) for line in output]
        if None in answers:
            return None
        configuration, status, patroni_file, hba_file, postgresql_file, postgresql = answers
        return Applied(
            configuration=configuration,
            reloaded=hba_file >= patroni_file,  # a reload writes it anew in any case
            loaded=postgresql["loaded"] >= postgresql_file,
            waiting=postgresql["waiting"],
            flagged=bool(status.get("pending_restart")),
        )
