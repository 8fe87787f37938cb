"""The primary moves when somebody asks for it and all is well, and else it does not."""

from tests.e2e import deadlines
from tests.e2e import testbed as bed


def switchover(*arguments: str) -> bed.Run:
    return bed.pyinfra("day2/switchover.py", "-y", *arguments)


def replicas() -> list[str]:
    primary = bed.primary()
    return [node for node in bed.NODES if node != primary]


def test_the_primary_moves_to_the_candidate(cluster: None) -> None:
    old, new = bed.primary(), replicas()[-1]
    run = switchover("--data", f"candidate={new}")
    assert run.code == 0, run.stderr[-4000:]
    assert f"switching over from {old} to {new}" in run.stderr
    assert bed.primary() == new
    assert bed.healthy(), "it ends when all is well again"
    with bed.connect(bed.RW) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'test', 'write')")
    assert bed.deploy().changes == []
    assert bed.primary() == new


def test_it_refuses_while_a_replica_is_away(cluster: None) -> None:
    primary, lost = bed.primary(), replicas()[0]
    bed.on(lost, "systemctl stop patroni")
    try:
        run = switchover()
        assert run.code == 1
        assert f"{lost} does not stream: two would be away" in run.stderr
        assert "HINT" in run.stderr
        assert bed.primary() == primary
    finally:
        bed.on(lost, "systemctl start patroni")
    bed.wait_until("the replica streams again", bed.healthy, deadlines.REJOIN)


def test_it_refuses_a_candidate_that_does_not_exist(cluster: None) -> None:
    primary = bed.primary()
    run = switchover("--data", "candidate=node9")
    assert run.code == 1
    assert "there is no member node9" in run.stderr
    assert bed.primary() == primary
