"""The judgement of WAL on its way, of the archive, and of what its host proves by itself."""

from typing import Any

import pytest

from cluster import Cluster
from facts.backup_proofs import ProofResult
from facts.pgbackrest import Backup, Repository
from facts.waiting_wal import WaitingWal
from operations import judgement_backup
from operations.judgement import Proof
from recovery import Archive

DAY, NOW = 86400, 1736200000


def says(proof: Proof, name: str, status: str, *words: str) -> None:
    """Assert a status and that the evidence has all `words`; what does not hold has a hint."""
    assert (proof.name, proof.status) == (name, status), proof
    assert all(word in proof.evidence for word in words), proof
    assert proof.hint or status in ("ok", "skipped")


# --- WAL on its way ---------------------------------------------------------------------------


def waiting(**changes: Any) -> WaitingWal:
    base = WaitingWal(is_primary=True, bytes=16 << 20, seconds=5, failing="", limits=[])
    return {**base, **changes}  # type: ignore[typeddict-item]


REPLICA = waiting(is_primary=False, bytes=0)


def queue(cluster: Cluster, primary: WaitingWal | None, other: WaitingWal = REPLICA) -> Proof:
    return judgement_backup.queue(cluster, {"node1": primary, "node2": other})


def test_little_wal_waits(cluster: Cluster) -> None:
    says(queue(cluster, waiting()), "queue", "ok", "16 MiB of WAL wait on node1, and none")
    at_bound = waiting(bytes=512 << 20, seconds=10 * 60 + 59)
    says(queue(cluster, at_bound), "queue", "ok", "512 MiB")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bytes": 528 << 20}, "528 MiB of WAL wait on node1, and 512 MiB are allowed"),
        ({"seconds": 660}, "WAL waits for 11 min on node1, and 10 min are allowed"),
        ({"seconds": 660, "failing": "0A"}, "archiving 0A fails there"),
        ({"bytes": None}, "PostgreSQL on node1 does not answer"),
        ({"limits": ["/etc/a.conf", "b"]}, "archive-push-queue-max is set in /etc/a.conf, b"),
    ],
)
def test_wal_that_waits_too_long_or_may_be_dropped(
    cluster: Cluster, changes: Any, words: str
) -> None:
    says(queue(cluster, waiting(**changes)), "queue", "failed", words)


def test_a_replica_may_be_the_next_to_drop_wal(cluster: Cluster) -> None:
    other = waiting(is_primary=False, limits=["/etc/pgbackrest.conf"])
    says(queue(cluster, waiting(), other), "queue", "failed", "node2 drops WAL that waits")


def test_a_replica_that_was_the_primary_archives_no_more(cluster: Cluster) -> None:
    other = waiting(is_primary=False, bytes=999 << 20, seconds=99999)
    says(queue(cluster, waiting(), other), "queue", "ok", "node1")


def test_nobody_tells_what_waits(cluster: Cluster) -> None:
    says(queue(cluster, None), "queue", "failed", "node1 does not tell what waits there")
    without = judgement_backup.queue(cluster, {"node2": REPLICA})
    says(without, "queue", "skipped", "no primary among the hosts of this run")


# --- the archive ------------------------------------------------------------------------------


def names(timeline: int, *numbers: int) -> list[str]:
    return [f"{timeline:08X}{n // 256:08X}{n % 256:08X}" for n in numbers]


OTHERS = names(1, 1)[0]  # another repository keeps more, and has its own archive


def repository(*first: str) -> Repository:
    backups = [
        Backup(repository=1, label=f, type="full", stopped=1, size=1, first_wal=f, damage=False)
        for f in first
    ]
    other = Backup(
        repository=2, label="x", type="full", stopped=1, size=1, first_wal=OTHERS, damage=False
    )
    backups.append(other)
    return Repository(
        stanza=True, unreadable="", version="18", message="ok", backups=backups, newest_wal=""
    )


def gaps(segments: list[str] | None, *first: str) -> Proof:
    archive = None if segments is None else Archive(frozenset(segments), {})
    return judgement_backup.gaps(repository(*(first or names(1, 254))), {"main": archive})


def test_an_archive_without_a_gap() -> None:
    says(gaps(names(1, 254, 255, 256, 257)), "gaps", "ok", "4 segments on 1 timeline, no gap")


def test_a_timeline_begins_with_the_last_segment_of_the_one_before_or_with_the_next() -> None:
    for begin in (256, 257):
        found = gaps(names(1, 254, 255, 256) + names(2, begin, 258))
        says(found, "gaps", "failed" if begin == 256 else "ok")
    says(gaps(names(1, 254, 255) + names(3, 255, 256)), "gaps", "ok", "2 timelines")


def test_a_branch_that_was_given_up_is_no_gap() -> None:
    says(gaps(names(1, 254, 255, 256) + names(2, 255) + names(3, 257)), "gaps", "ok")


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        (names(1, 254, 257), "2 missing before 000000010000000100000001"),
        (names(1, 256), "2 missing before 000000010000000100000000"),
        (names(1, 254) + names(2, 256), "1 missing before 000000020000000100000000"),
        ([], "0000000100000000000000FE and all after it are missing"),
        (None, "does not tell what the archive holds"),
    ],
)
def test_gaps(segments: list[str] | None, words: str) -> None:
    says(gaps(segments), "gaps", "failed", words)


def test_what_no_backup_needs_may_be_gone() -> None:
    later = names(1, 256)[0]
    second = names(2, 256)
    says(gaps(names(1, 300) + second, *second), "gaps", "ok", "1 segments on 1 timeline")
    says(gaps(names(1, 3, 256, 257), later, names(1, 300)[0]), "gaps", "ok", f"since {later}")


def test_each_repository_has_an_archive_of_its_own() -> None:
    main, offsite = names(1, 254, 255), [OTHERS, *names(1, 3)]
    archives: dict[str, Archive | None] = {
        name: Archive(frozenset(segments), {})
        for name, segments in {"main": main, "offsite": offsite}.items()
    }
    found = repository(*names(1, 254))
    says(judgement_backup.gaps(found, archives), "gaps", "failed", "offsite: 1 missing before")
    archives["offsite"] = Archive(frozenset(names(1, 1, 2, 3)), {})
    says(judgement_backup.gaps(found, archives), "gaps", "ok", "main: 2 seg", "offsite: 3 seg")
    archives["offsite"] = None
    says(judgement_backup.gaps(found, archives), "gaps", "failed", "offsite: pgBackRest does not")


@pytest.mark.parametrize("found", [None, repository()])
def test_without_a_backup_nobody_knows_what_is_missing(found: Any) -> None:
    proof = judgement_backup.gaps(found, {"main": Archive(frozenset(names(1, 1)), {})})
    says(proof, "gaps", "failed", "does not tell which WAL the backups need")


# --- proofs that the repository host runs by itself -------------------------------------------


def results(**changes: Any) -> dict[str, ProofResult]:
    base = ProofResult(
        passed=True, seconds=12, finished=NOW - 2 * DAY, backup="B", recovered_to=1736125230
    )
    found: Any = {**base, **changes}
    return {"verify": found, "rehearsal": found}


JUDGES = {"verified": judgement_backup.verified, "rehearsal": judgement_backup.rehearsal}


def test_a_rehearsal_that_passed(cluster: Cluster) -> None:
    proof = judgement_backup.rehearsal(cluster, results(), NOW)
    says(
        proof, "rehearsal", "ok",
        "B restored in 12 s, recovered to 2025-01-06 01:00:30 UTC, 2 d 0 h ago",
    )  # fmt: skip
    says(judgement_backup.verified(cluster, results(), NOW), "verified", "ok", "2 d 0 h ago")


@pytest.mark.parametrize("name", JUDGES)
def test_proofs_that_failed_are_old_or_never_ran(cluster: Cluster, name: str) -> None:
    judge = JUDGES[name]
    says(judge(cluster, results(passed=False), NOW), name, "failed", "failed 2 d 0 h ago")
    says(judge(cluster, results(finished=NOW - 9 * DAY), NOW), name, "ok")
    old = judge(cluster, results(finished=NOW - 9 * DAY - 1), NOW)
    says(old, name, "failed", "last passed 9 d 0 h ago, and 9 d are allowed")
    says(judge(cluster, {}, NOW), name, "warning", "never ran")
    says(judge(cluster, None, NOW), name, "failed", "cannot tell")
