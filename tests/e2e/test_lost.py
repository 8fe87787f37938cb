"""What is lost as a whole: the repository host, or everything but that."""

import json

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_backup import arrived_segment, info, switched_segment
from tests.e2e.test_restore import CONFIRM, OLD, rows, writing
from tests.e2e.test_verify import verify

pytestmark = pytest.mark.long
SYSTEM = (
    "cd / && runuser -u postgres -- psql -XAtqc 'SELECT system_identifier FROM pg_control_system()'"
)


def new_machines(*names: str) -> tuple[str, str]:
    """Put bare hosts in the place of some, and return what a deploy has to be told of them."""
    bed.docker("rm", "--force", "--volumes", *(bed.HOSTS[name].container for name in names))
    bed.up()
    return "--data", f"ssh_trust_replaced={','.join(names)}"


def test_the_repository_is_lost(cluster: None) -> None:
    told = new_machines("pgbackrest")
    bed.deploy(*told)
    assert [one["type"] for one in info()["backup"]] == ["full"]
    arrived_segment()
    bed.on("pgbackrest", "systemctl start pgha-proof@verify pgha-proof@rehearsal")
    code, proofs = verify()
    assert code == 0, proofs
    assert bed.deploy().changes == []


def test_a_repository_whose_disk_is_away_is_not_begun_anew(cluster: None) -> None:
    bed.on("pgbackrest", "mv /data/pgbackrest /data/elsewhere")
    try:
        refused = bed.pyinfra("deploy.py", "-y")
        assert refused.code != 0
        assert "has taken backups into /data/pgbackrest, and that is not there" in refused.stderr
        assert bed.on("pgbackrest", "ls -d /data/pgbackrest", check=False) == ""
    finally:
        bed.on("pgbackrest", "mv /data/elsewhere /data/pgbackrest")
    assert bed.deploy().changes == []


def test_everything_but_the_repository_is_lost(cluster: None) -> None:
    with writing() as writers:
        bed.wait_until("writes", lambda: len(writers[0].acknowledged) > 50, deadlines.SERVICE_BACK)
    by_then = {row for writer in writers for row in writer.acknowledged}
    arrived_segment()
    backups = len(info()["backup"])
    told = new_machines(*bed.NODES)
    refused = bed.pyinfra("deploy.py", "-y", *told)
    assert refused.code != 0
    assert "no database host has data, and pgbackrest has backups of pgha" in refused.stderr
    bed.deploy(*told, "--data", "bootstrap=empty")
    # What is empty and new can do nothing to what the repository holds.
    switched_segment()
    assert len(info()["backup"]) == backups
    run = bed.pyinfra("day2/restore.py", "-y", "--data", "target=latest", *CONFIRM)
    assert run.code == 0, run.stderr[-6000:]
    assert "instead of another database" in run.stderr
    assert rows() == by_then
    assert json.loads(bed.on(bed.primary(), SYSTEM)) == info()["db"][-1]["system-id"]
    assert bed.deploy().changes == []
    for node in bed.NODES:
        bed.on(node, f"rm -rf {OLD}")
