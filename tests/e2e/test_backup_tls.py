"""pgBackRest over TLS instead of SSH: one setting, there and back, with the archive going on."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from identities import Identity
from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import PGBACKREST, arrived_segment, info, switched_segment
from tests.e2e.test_repositories import holds

pytestmark = pytest.mark.long
TLS = ("--data", "pgbackrest_transport=tls")
NODE1 = bed.HOSTS["node1"].address


@pytest.fixture(scope="module")
def over_tls(deployed: bed.Run) -> Iterator[None]:
    """The cluster with the other transport; the usual one again at the end."""
    first, again = bed.deploy(*TLS), bed.deploy(*TLS)
    assert "Configure WAL archiving" in first.changes
    assert again.changes == []
    yield
    assert "Exchange SSH keys" in bed.deploy().changes
    assert bed.deploy().changes == []
    for host in (*bed.NODES, "pgbackrest"):
        assert bed.on(host, "ss -Hltn sport = :8432") == "", host
    arrived_segment()


def test_wal_arrives_and_a_backup_is_taken(cluster: None, over_tls: None) -> None:
    arrived_segment()
    before = [backup["label"] for backup in info()["backup"]]
    bed.on("pgbackrest", f"{PGBACKREST} --type=incr backup")
    assert len(info()["backup"]) == len(before) + 1
    assert "status: ok" in bed.on("node2", f"{PGBACKREST} info")


def test_of_two_repositories_one_is_broken(cluster: None, over_tls: None) -> None:
    place = "/data/second"
    second = {"name": "second", "type": "posix", "path": place, "retention_days": 7,
              "full_schedule": "Sun 05:00"}  # fmt: skip
    two = (*TLS, "--data", f"pgbackrest_repositories={json.dumps([second])}")
    bed.deploy(*two)
    try:
        assert {one["database"]["repo-key"] for one in info()["backup"]} == {1, 2}
        bed.on("pgbackrest", f"mv {place} {place}.away && touch {place}")
        try:
            segments = [switched_segment() for _ in range(3)]
            arrival = partial(holds, 1, *segments)
            bed.wait_until("the arrival in the other", arrival, deadlines.ARCHIVED)
            bed.on("pgbackrest", "systemctl start pgbackrest-backup@diff")
        finally:
            bed.on("pgbackrest", f"rm {place} && mv {place}.away {place}")
        bed.wait_until("the arrival there", partial(holds, 2, *segments), deadlines.ARCHIVED)
        assert bed.deploy(*two).changes == []
    finally:
        bed.deploy(*TLS)
        bed.on("pgbackrest", f"rm -rf {place}")


def test_no_ssh_key_opens_anything(cluster: None, over_tls: None) -> None:
    left = (
        "cd /var/lib/postgresql/.ssh; grep -h pgha: authorized_keys known_hosts"
        "; ls /usr/local/sbin/pgha-pgbackrest-only /etc/ssh/ssh_config.d/10-pgha.conf 2>/dev/null"
    )
    for host in (*bed.NODES, "pgbackrest"):
        assert bed.on(host, left, check=False) == "", host


@pytest.mark.parametrize("service", ["postgres", "etcd"])
def test_nobody_else_may_do_anything(cluster: None, over_tls: None, service: str) -> None:
    # A server greets whoever connects, and does nothing for who has not the right certificate,
    # be it a good one of this cluster's authority.
    folder = bed.on("node1", "mktemp -d")

    def answer_to(shown: Identity) -> str:
        bed.on(
            "node1",
            f"cd {folder} && cp {shown.key} tls.key && cp {shown.certificate} tls.crt"
            f" && sed 's,/etc/pgha/pgbackrest/tls,{folder}/tls,' /etc/pgbackrest.conf >config"
            f" && chown -R postgres {folder} && chmod 600 {folder}/*",
        )
        ask = f"timeout 60 pgbackrest --stanza=pgha --config={folder}/config info 2>&1"
        return bed.on("node1", f"runuser -u postgres -- {ask}", check=False)

    try:
        # The copy is good: it works with pgBackRest's own key and certificate.
        assert "status: ok" in answer_to(Identity("pgbackrest", "node1"))
        assert "status: error" in answer_to(Identity(service, "node1"))
    finally:
        bed.on("node1", f"rm -r {folder}")


def test_members_do_not_answer_each_other(cluster: None, over_tls: None) -> None:
    probe = f"timeout 3 bash -c '</dev/tcp/{NODE1}/8432' 2>/dev/null && echo open || echo closed"
    assert bed.on("pgbackrest", probe) == "open"
    assert bed.on("node2", probe) == "closed"
    assert bed.on("outsider", probe) == "closed"
