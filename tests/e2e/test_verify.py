"""The proofs hold on a healthy cluster, and each one can fail."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed


def verify() -> tuple[int, dict[str, str]]:
    """Run the proofs; return the exit status, and each proof's result by name."""
    run = bed.pyinfra("verify.py", "-y", "--data", "verify_format=json")
    document = json.loads(run.stdout)
    return run.code, {proof["name"]: proof["status"] for proof in document["proofs"]}


@contextmanager
def broken(host: str, breaks: str, mends: str) -> Iterator[None]:
    bed.on(host, breaks)
    try:
        yield
    finally:
        bed.on(host, mends)


def test_all_proofs_hold_on_a_healthy_cluster(cluster: None) -> None:
    code, proofs = verify()
    assert code == 0
    assert set(proofs.values()) <= {"ok", "warning"}
    assert {"etcd", "patroni", "writes", "reads", "archiving", "backup", "firewall"} <= set(proofs)
    assert proofs["certificates"] == "ok"


def test_table_is_for_people(cluster: None) -> None:
    run = bed.pyinfra("verify.py", "-y")
    assert run.code == 0
    assert re.search("PROOF +RESULT +EVIDENCE", run.stdout)
    assert bed.secrets()["app"] not in run.stdout + run.stderr


POLICY = "/etc/firewalld/policies/pgha.xml"
FAULTS = {
    "etcd": ("node2", "systemctl stop etcd", "systemctl start etcd"),
    "backup": (
        "pgbackrest",
        "systemctl stop pgbackrest-backup@full.timer",
        "systemctl start pgbackrest-backup@full.timer",
    ),
    "firewall": (
        "node1",
        f"mv {POLICY} /root/ && firewall-cmd -q --zone=public --add-port=2379/tcp",
        f"mv /root/pgha.xml {POLICY} && firewall-cmd -q --reload",
    ),
}


@pytest.mark.parametrize("proof", FAULTS)
def test_proof_fails_with_its_cause(cluster: None, proof: str) -> None:
    with broken(*FAULTS[proof]):
        code, proofs = verify()
    assert code != 0
    assert proofs[proof] == "failed"


def test_lost_replica_fails_its_proofs_and_hides_no_other(cluster: None) -> None:
    victim = next(node for node in bed.NODES if node != bed.primary())
    bed.docker("kill", "-s", "KILL", bed.HOSTS[victim].container)
    try:
        code, proofs = verify()
    finally:
        bed.docker("start", bed.HOSTS[victim].container)
    assert code != 0
    assert proofs["hosts"] == proofs["patroni"] == "failed"
    assert proofs["writes"] == proofs["archiving"] == "ok"
    bed.wait_until("the replica streams again", bed.healthy, deadlines.REJOIN)
