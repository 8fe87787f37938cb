"""Whether the archive is whole: every timeline without a gap, and what pgBackRest says of it."""

from faults import invariants
from faults.site import Site, Unreachable
from faults.steps import wait_until

ARCHIVED_SECONDS = 120.0
_PGBACKREST = "cd / && runuser -u postgres -- pgbackrest --stanza={scope}"
# An empty segment is not switched: something is written first.
_SWITCH = (
    'cd / && runuser -u postgres -- psql -XAtq -c "SELECT pg_walfile_name('
    "pg_logical_emit_message(true, 'pgha', 'archive'))\" -c 'SELECT pg_switch_wal()' | head -1"
)
_ARCHIVED = (
    "cd / && runuser -u postgres -- psql -XAtqc"
    " \"SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver\""
)


def breaches(site: Site) -> list[str]:
    """Return what is wrong with the archive, once all WAL until now has arrived there."""
    leader, (repository, _) = site.primary(), site.repository
    segment = site.hands.shell(leader, _SWITCH)
    asked = _ARCHIVED.format(segment=segment)
    try:
        wait_until(
            f"{segment} in the archive", lambda: site.ask(leader, asked) == "t", ARCHIVED_SECONDS
        )
    except Unreachable as error:
        return [str(error)]
    pgbackrest = _PGBACKREST.format(scope=site.scope)
    listed = site.hands.shell(
        repository, f"{pgbackrest} --log-level-console=off repo-ls --recurse archive/{site.scope}"
    )
    found = invariants.gaps(line.rpartition("/")[2] for line in listed.splitlines())
    for command in ("check", "verify"):
        try:
            site.hands.shell(repository, f"{pgbackrest} --log-level-console=warn {command}")
        except Unreachable as error:
            found.append(f"pgbackrest {command}: {error}")
    return found
