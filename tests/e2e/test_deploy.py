"""One command makes bare hosts a cluster; the same command again changes nothing."""

import pytest

from tests.e2e import testbed as bed

# Where a run is killed: in the middle of packages, of etcd's first start, of Patroni's bootstrap,
# of the stanza.
KILLED_AT = (
    "Install packages",
    "Start etcd where it is safe",
    "Configure and start Patroni",
    "Create the stanza and take the first backup",
)


def test_killed_deploys_are_finished_by_the_next(fresh: None) -> None:
    bed.testbed("down")
    bed.up()
    for operation in KILLED_AT:
        bed.kill_at(operation, bed.command("deploy.py", "-y"))
    bed.deploy()
    assert bed.healthy()
    assert bed.deploy().changes == []


def test_second_run_changes_nothing(cluster: None) -> None:
    assert bed.deploy().changes == []


def test_dry_run_changes_nothing_and_shows_no_secret(cluster: None) -> None:
    run = bed.pyinfra("deploy.py", "--dry", "--diff", "-vvv", "--debug")
    assert run.code == 0, run.stderr[-2000:]
    for name, secret in bed.telltales().items():
        assert secret not in run.stdout + run.stderr, f"the secret {name} is in the output"


@pytest.mark.parametrize("unit", ["etcd.service", "patroni.service", "firewalld.service"])
def test_services_start_again_with_the_host(cluster: None, unit: str) -> None:
    assert bed.on("node1", f"systemctl is-enabled {unit}") == "enabled"


def test_no_failed_unit_anywhere(cluster: None) -> None:
    for host in bed.HOSTS:
        assert bed.on(host, "systemctl --failed --plain --no-legend") == ""
