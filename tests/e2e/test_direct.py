"""Without a proxy: libpq itself finds the primary or a standby among the members."""

import json

import psycopg
import pytest

from testbed.hosts import SUBNETS
from tests.e2e import deadlines
from tests.e2e import testbed as bed

EVERY = ",".join(bed.HOSTS[node].address for node in bed.NODES)
# The machine that the tests run on, as the containers see it.
HERE = f"{SUBNETS[bed.NAME]}.1/32"
WHO = "SELECT pg_is_in_recovery()"


def asked(attributes: str) -> bool:
    """Return whether whom libpq found is a standby."""
    with bed.connect(5432, host=EVERY, target_session_attrs=attributes) as connection:
        return bool((connection.execute(WHO).fetchone() or [None])[0])


def test_libpq_finds_who_is_wanted_and_own_roles_stay_out(cluster: None) -> None:
    with pytest.raises(psycopg.OperationalError):
        asked("any")
    networks = f"postgresql_client_networks={json.dumps([HERE])}"
    bed.deploy("--data", networks, "--data", "phases=firewall,patroni")
    try:
        assert [asked(a) for a in ("read-write", "primary", "standby", "prefer-standby")] == [
            False, False, True, True,
        ]  # fmt: skip
        for user, secret in (("postgres", "superuser"), ("replicator", "replication")):
            with pytest.raises(psycopg.OperationalError, match="pg_hba"):
                bed.connect(5432, host=EVERY, user=user, password=bed.secrets()[secret])
        old = bed.primary()
        bed.on(old, "systemctl stop patroni")
        try:
            bed.wait_until("another primary", _writes_elsewhere(old), deadlines.FAILOVER)
        finally:
            bed.on(old, "systemctl start patroni")
    finally:
        bed.wait_until("a healthy cluster", bed.healthy, deadlines.REJOIN)
        bed.deploy("--data", "phases=firewall,patroni")
    with pytest.raises(psycopg.OperationalError):
        asked("any")


def _writes_elsewhere(old: str):  # type: ignore[no-untyped-def]
    def writes() -> bool:
        try:
            with bed.connect(5432, host=EVERY, target_session_attrs="read-write") as connection:
                connection.execute("SELECT pg_logical_emit_message(true, 'test', 'write')")
                return str(connection.info.host) != bed.HOSTS[old].address
        except psycopg.OperationalError:
            return False

    return writes
