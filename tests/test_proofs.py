"""The proofs' judgement: facts in, one Proof out, for a good cluster and for each way to be bad."""

import json
from dataclasses import replace
from itertools import permutations
from math import inf
from typing import Any
from unittest.mock import patch

import pytest

from cluster import Cluster
from decisions import PatroniMember
from facts.archive import ArchivedSegment, BackupCheck, Check, SwitchedWal
from facts.component import UnitState
from facts.etcd import Member as EtcdMember
from facts.network import OpenPorts
from facts.patroni import Member
from facts.patroni_views import PatroniViews, View
from facts.pgbackrest import Backup, Repository
from facts.routing import RoutedSessions, Session
from operations import judgement, judgement_access, judgement_tls, proofs, report, selinux
from operations.judgement import Proof
from tests import harness
from tests.clusters import described

SEGMENT = "00000003000000000000001A"


def says(proof: Proof, status: str, *words: str) -> None:
    """Assert a status and that the evidence has all `words`; a failure has a hint."""
    assert proof.status == status, proof
    assert all(word in proof.evidence for word in words), proof
    assert proof.hint or status in ("ok", "skipped")


# --- SELinux ----------------------------------------------------------------------------------


def test_selinux_denied_nothing() -> None:
    says(selinux.judged({"node1": [], "node2": []}), "ok", "on 2 hosts")


def test_selinux_denied_something() -> None:
    found = {"node1": [], "haproxy": ["haproxy name_connect tcp_socket"], "node2": None}
    says(selinux.judged(found), "warning", "haproxy: haproxy name_connect tcp_socket")


def test_selinux_nobody_notes_what_it_denies() -> None:
    says(selinux.judged({"node1": None}), "skipped", "auditd")


# --- etcd -------------------------------------------------------------------------------------


def etcd(cluster: Cluster, **changes: Any) -> Proof:
    hosts = cluster.etcd_members
    urls = [cluster.etcd_client_url(host) for host in hosts]
    facts: dict[str, Any] = {
        "members": [EtcdMember(id="1", name=h.name, peer_url="") for h in hosts],
        "health": dict.fromkeys(urls, True),
        "status": [
            {"endpoint": url, "is_leader": url == urls[0], "version": "3.6.14", "db_bytes": 65536}
            for url in urls
        ],
        "alarms": [],
    }
    return judgement.etcd(cluster, **{**facts, **changes})


def test_etcd_whole(cluster: Cluster) -> None:
    says(etcd(cluster), "ok", "3 of 3", "node1 leads", "quorum is 2", "64 KiB")


def test_etcd_one_member_down(cluster: Cluster) -> None:
    health = {cluster.etcd_client_url(h): h.name != "node2" for h in cluster.etcd_members}
    says(etcd(cluster, health=health), "failed", "node2 unhealthy", "2 of 3")


@pytest.mark.parametrize("health", [None, {}])
def test_etcd_cannot_tell_is_no_quorum(cluster: Cluster, health: Any) -> None:
    silent = etcd(cluster, health=health, members=None, status=[], alarms=None)
    says(silent, "failed", "no quorum")


def test_etcd_member_unknown_to_the_inventory(cluster: Cluster) -> None:
    members = [EtcdMember(id="1", name=n, peer_url="") for n in ("node1", "node2", "old", "")]
    says(
        etcd(cluster, members=members),
        "failed", "node3 is not a member", "old is a member", "one without a name",
    )  # fmt: skip


def test_etcd_two_leaders_or_none(cluster: Cluster) -> None:
    for is_leader, words in ((True, "3 leaders"), (False, "no leader")):
        status = [
            {"endpoint": "x", "is_leader": is_leader, "version": "3.6.14", "db_bytes": 1}
            for _ in range(3)
        ]
        says(etcd(cluster, status=status), "failed", words)


def test_etcd_alarms(cluster: Cluster) -> None:
    says(etcd(cluster, alarms=["NOSPACE"]), "failed", "alarm NOSPACE")
    says(etcd(cluster, alarms=None), "failed", "alarm unknown")


def test_an_etcd_that_is_full_is_not_called_one_without_a_quorum(cluster: Cluster) -> None:
    full = etcd(cluster, health={}, members=None, status=[], alarms=["NOSPACE"])
    says(full, "failed", "alarm NOSPACE")
    assert "quorum" not in full.evidence
    assert "etcd is full" in full.hint


@pytest.mark.parametrize(
    ("version", "status"),
    [("3.4.44", "warning"), ("3.5.32", "warning"), ("3.5.33", "ok"), ("3.6.13", "warning"),
     ("3.6.14", "ok"), ("3.7.0", "warning"), ("3.7.1", "ok"), ("3.8.0", "ok"),
     ("3.5.40-rc.1", "ok")],
)  # fmt: skip
def test_etcd_version_floor_warns(version: str, status: str) -> None:
    says(judgement.versions([{"version": version}]), status, version)


# --- Patroni ----------------------------------------------------------------------------------


def member(name: str, **changes: Any) -> Member:
    role, state = ("leader", "running") if name == "node1" else ("quorum_standby", "streaming")
    base = Member(name=name, role=role, state=state, timeline=3, lag=0, pending_restart=False)
    return {**base, **changes}  # type: ignore[typeddict-item]


def view(*members: Member, paused: bool = False) -> View:
    return View(members=list(members), paused=paused)


def patroni(cluster: Cluster, *members: Member, silent: str = "", paused: bool = False) -> Proof:
    urls = {host.name: cluster.rest_url(host) for host in cluster.postgres_members}
    found = members or tuple(member(name) for name in urls)
    views = {u: None if n == silent else view(*found, paused=paused) for n, u in urls.items()}
    return judgement.patroni(cluster, views, 16)


def test_patroni_whole(cluster: Cluster) -> None:
    says(patroni(cluster), "ok", "node1 leads on timeline 3", "2 of 2 replicas",
         "commits wait for any of node2, node3")  # fmt: skip


ASYNCHRONOUS = [
    Member(name=n, role=r, state=s, timeline=3, lag=0, pending_restart=False)
    for n, r, s in (("node1", "leader", "running"), ("node2", "replica", "streaming"),
                    ("node3", "replica", "streaming"))
]  # fmt: skip


@pytest.mark.parametrize("level", ["quorum", "strict"])
def test_patroni_nobody_confirms_commits(level: str) -> None:
    cluster = described(cluster_durability=level)
    says(patroni(cluster, *ASYNCHRONOUS), "failed", "no replica confirms commits")
    one = member("node2", role="sync_standby")
    says(patroni(cluster, ASYNCHRONOUS[0], one, ASYNCHRONOUS[2]), "ok", "any of node2")


def test_patroni_nobody_has_to_confirm_commits() -> None:
    found = patroni(described(cluster_durability="async"), *ASYNCHRONOUS)
    says(found, "ok", "2 of 2 replicas")
    assert "commits" not in found.evidence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "stopped"}, "node2 is stopped"),
        ({"timeline": 2}, "timeline 2, not 3"),
        ({"lag": 17 << 20}, "lags 17 MiB, and 16 MiB"),
        ({"lag": None}, "lags an unknown amount"),
        ({"pending_restart": True}, "node2 waits for a restart"),
        ({"role": "leader", "state": "running"}, "2 leaders: node1, node2"),
    ],
)
def test_patroni_a_replica_is_not_well(cluster: Cluster, changes: Any, words: str) -> None:
    found = patroni(cluster, member("node1"), member("node2", **changes), member("node3"))
    says(found, "failed", words)


def test_patroni_lag_at_the_bound_is_allowed(cluster: Cluster) -> None:
    at_bound = member("node2", lag=16 << 20)
    says(patroni(cluster, member("node1"), at_bound, member("node3")), "ok", "16 MiB")


def test_patroni_a_killed_member_that_etcd_still_lists(cluster: Cluster) -> None:
    says(patroni(cluster, silent="node2"), "failed", "Patroni on node2 does not answer")


def test_patroni_a_member_is_missing(cluster: Cluster) -> None:
    found = patroni(cluster, member("node1"), member("node2"))
    says(found, "failed", "node3 is not a member")


def test_patroni_members_disagree_on_the_leader(cluster: Cluster) -> None:
    one, two, three = (cluster.rest_url(host) for host in cluster.postgres_members)
    whole = view(*(member(name) for name in ("node1", "node2", "node3")))
    other = view(member("node1", role="replica", state="streaming"),
                 member("node2", role="leader", state="running"), member("node3"))  # fmt: skip
    found = judgement.patroni(cluster, {one: whole, two: other, three: whole}, 16)
    says(found, "failed", "2 leaders: node1, node2")


def test_patroni_without_a_leader(cluster: Cluster) -> None:
    replicas = [member(f"node{n}", role="replica", state="running") for n in (1, 2, 3)]
    says(patroni(cluster, *replicas), "failed", "no leader", "node1 is running")


@pytest.mark.parametrize("views", [None, {}])
def test_patroni_cannot_tell(cluster: Cluster, views: Any) -> None:
    says(judgement.patroni(cluster, views, 16), "failed", "node1 does not answer")


def test_patroni_paused_is_a_warning(cluster: Cluster) -> None:
    says(patroni(cluster, paused=True), "warning", "paused: no failover")


def test_patroni_gets_two_loops_to_tell_who_confirms(cluster: Cluster) -> None:
    urls = [cluster.rest_url(host) for host in cluster.postgres_members]
    whole = dict.fromkeys(urls, view(*(member(name) for name in ("node1", "node2", "node3"))))
    early = dict.fromkeys(urls, view(*ASYNCHRONOUS))
    recorded: list[Proof] = []
    with patch.object(report, "record", recorded.append), patch("operations.proofs.time.sleep"):
        harness.run(proofs.patroni, {"facts": {"PatroniViews": {"in turn": [early, whole]}}})
    assert [proof.status for proof in recorded] == ["ok"]


# --- routing ----------------------------------------------------------------------------------


def session(cluster: Cluster, name: str, **changes: Any) -> Session:
    is_leader = name == "node1"
    base = Session(
        address=cluster.host(name).address, port=5432, in_recovery=not is_leader,
        written=is_leader, error="" if is_leader else "ERROR: recovery",
    )  # fmt: skip
    return {**base, **changes}  # type: ignore[typeddict-item]


MEMBERS = [PatroniMember(**member(f"node{number}")) for number in (1, 2, 3)]
NO_ANSWER = Session(
    address="", port=0, in_recovery=False, written=False, error='psql: port 5 failed: refused "x"'
)


def writes(cluster: Cluster, *sessions: Session) -> Proof:
    return judgement_access.writes(cluster, cluster.haproxy_hosts[0], MEMBERS, sessions)


def reads(cluster: Cluster, *sessions: Session) -> Proof:
    return judgement_access.reads(cluster, cluster.haproxy_hosts[0], MEMBERS, sessions)


def test_writes_reach_the_leader(cluster: Cluster) -> None:
    says(writes(cluster, session(cluster, "node1")), "ok", "haproxy:5000 leads to node1:5432")


def test_writes_fail(cluster: Cluster) -> None:
    says(writes(cluster, session(cluster, "node2")), "failed", "leads to node2, not to the leader")
    refusing = session(cluster, "node1", written=False, error="ERROR:  read-only")
    says(writes(cluster, refusing), "failed", "node1 refuses a write")
    says(writes(cluster, NO_ANSWER), "failed", "haproxy:5000 does not answer: refused")
    says(writes(cluster), "failed", "does not tell")


def test_writes_to_another_writer_than_the_leader(cluster: Cluster) -> None:
    other = session(cluster, "node3", in_recovery=False, written=True)
    says(writes(cluster, other), "failed", "node3, not to the leader")


def test_reads_reach_each_replica(cluster: Cluster) -> None:
    both = [session(cluster, name) for name in ("node2", "node3")]
    says(reads(cluster, *both, *both), "ok", "node2, node3 in turn")


def test_reads_fail(cluster: Cluster) -> None:
    two, three = session(cluster, "node2"), session(cluster, "node3")
    says(reads(cluster, two, two), "failed", "node3 never answered in 2")
    says(reads(cluster, two, session(cluster, "node1")), "failed", "node1, which is no replica")
    says(reads(cluster, two, {**three, "written": True}), "failed", "node3 took a write")
    says(reads(cluster, NO_ANSWER), "failed", "does not answer")
    says(reads(cluster), "failed", "never answered in 0")


def test_reads_without_a_replica(cluster: Cluster) -> None:
    proxy, alone = cluster.haproxy_hosts[0], MEMBERS[:1]
    says(judgement_access.reads(cluster, proxy, alone, []), "failed", "no replica streams")
    led = judgement_access.reads(cluster, proxy, alone, [session(cluster, "node1")])
    assert led.evidence == "no replica streams"
    nobody = described(haproxy_ro_fallback="none")
    led = judgement_access.reads(nobody, proxy, alone, [session(cluster, "node1")])
    says(led, "failed", "no replica streams", "node1, which is no replica")
    single = described(groups={"node2": ("etcd",), "node3": ("etcd",)})
    says(judgement_access.reads(single, proxy, alone, []), "skipped", "no replica")


def test_pooled_writes_reach_the_leader(cluster: Cluster) -> None:
    proxy = cluster.haproxy_hosts[0]

    def pooled(*sessions: Session) -> Proof:
        return judgement_access.pooled(cluster, proxy, MEMBERS, sessions)

    says(pooled(session(cluster, "node1")), "ok", "haproxy:6432 leads to node1")
    says(pooled(session(cluster, "node2")), "failed", "leads to node2, not to the leader")
    says(pooled(NO_ANSWER), "failed", "haproxy:6432 does not answer")
    assert pooled().name == "pooled"


SHARED: dict[str, Any] = {
    "groups": {"haproxy2": ["haproxy"]},
    "addresses": {"haproxy2": "10.0.0.32"},
    "haproxy_virtual_ip": "10.0.0.30",
}


def test_virtual_ip(cluster: Cluster) -> None:
    shared = described(**SHARED)
    well = [session(shared, "node1")]

    def found(*holders: bool, sessions: Any = well) -> Proof:
        pairs = dict(zip(("haproxy", "haproxy2"), holders, strict=True))
        return judgement_access.address(shared, pairs, sessions)

    says(found(True, False), "ok", "haproxy has 10.0.0.30")
    says(found(False, False), "failed", "none of haproxy, haproxy2 has 10.0.0.30")
    says(found(True, True), "failed", "haproxy, haproxy2 have 10.0.0.30 at the same time")
    says(found(True, False, sessions=[NO_ANSWER]), "failed", "10.0.0.30 does not answer: refused")
    says(judgement_access.address(cluster, {}, []), "skipped", "haproxy_virtual_ip")


def test_virtual_ip_of_a_host_that_was_not_asked() -> None:
    shared = described(**SHARED)
    well = [session(shared, "node1")]
    alone = judgement_access.address(shared, {"haproxy2": False}, well)
    says(alone, "ok", "a host that was not asked has 10.0.0.30")
    lost = judgement_access.address(shared, {"haproxy2": False}, [NO_ANSWER])
    says(lost, "failed", "10.0.0.30 does not answer")


def test_reads_do_not_wait_for_a_killed_replica_that_etcd_still_lists(cluster: Cluster) -> None:
    urls = {host.name: cluster.rest_url(host) for host in cluster.postgres_members}
    whole = view(*(member(name) for name in urls))
    views = {url: None if name == "node2" else whole for name, url in urls.items()}
    assert [m.name for m in judgement.answering(cluster, views)] == ["node1", "node3"]


# --- archive and backups ----------------------------------------------------------------------


def test_archiving() -> None:
    says(judgement_access.archiving(SEGMENT, "18-1/x", 1.2), "ok", SEGMENT, "timeline 3", "1.2 s")
    says(judgement_access.archiving(SEGMENT, None, 60), "failed", SEGMENT, "after 60 s")
    says(judgement_access.archiving(None, None, 0), "failed", "no primary answers")
    says(judgement_access.archiving(None, None, 0, ["node1"]), "skipped", "node1")


def units(**changes: str) -> dict[str, UnitState]:
    """Return what a good repository host has, with `diff_timer="inactive"` or the like."""
    states = {"full_timer": "active", "diff_timer": "active", "full_service": "inactive"} | changes
    return {
        f"pgbackrest-backup@{name.replace('_', '.')}": UnitState(
            load="loaded", active=active, enabled="enabled", started=0
        )
        for name, active in states.items()
    }


def repository(*kinds: str) -> Repository:
    backups = [
        Backup(
            repository=1,
            label=kind,
            type=kind.removeprefix("damaged "),
            stopped=1000,
            size=1,
            first_wal="",
            damage=kind.startswith("damaged "),
        )
        for kind in kinds
    ]
    return Repository(
        stanza=True, unreadable="", version="18", message="ok", backups=backups, newest_wal=""
    )


GOOD = Check(passed=True, error="")


def backup(found: Any, check: Any, there: Any, now: float) -> Proof:
    return judgement_access.backup(found, check, there, now, {"main": 30})


def test_backup_is_too_old() -> None:
    found = repository("full", "diff")
    says(backup(found, GOOD, units(), 1000 + 30 * 3600), "ok", "1 d 6 h old")
    late = backup(found, GOOD, units(), 1001 + 30 * 3600)
    says(late, "failed", "the last backup is 1 d 6 h old, and 30 h are allowed")


def test_backup_whole() -> None:
    proof = backup(repository("full", "diff"), GOOD, units(), 1000 + 3 * 3600)
    says(proof, "ok", "2 backups", "the last (diff) 3 h 0 min old")


def test_each_repository_has_its_own_backups_and_limit() -> None:
    found = repository("full", "diff")
    limits = {"main": 30, "offsite": 200}
    proof = judgement_access.backup(found, GOOD, units(), 2000, limits)
    says(proof, "failed", "offsite: there is no full backup")
    found["backups"].append(
        Backup(
            repository=2, label="x", type="full", stopped=1000, size=1, first_wal="", damage=False
        )
    )
    proof = judgement_access.backup(found, GOOD, units(), 1000 + 31 * 3600, limits)
    says(proof, "failed", "main: the last backup is 1 d 7 h old, and 30 h are allowed")
    assert "offsite" not in proof.evidence
    says(judgement_access.backup(found, GOOD, units(), 2000, limits), "ok", "main: 2", "offsite: 1")


@pytest.mark.parametrize(
    ("found", "check", "there", "words"),
    [
        (repository("full"), Check(passed=False, error="[082]: late"), units(), "[082]: late"),
        (repository("full"), None, units(), "pgbackrest is missing"),
        (repository("diff"), GOOD, units(), "no full backup"),
        (None, GOOD, units(), "no full backup"),
        (repository("damaged full", "diff"), GOOD, units(), "no full backup"),
        (repository("full", "damaged diff"), GOOD, units(), "damaged diff found pages"),
        (repository("full"), GOOD, units(diff_timer="inactive"), "diff.timer is inactive"),
        (repository("full"), GOOD, units(full_service="failed"), "full.service failed"),
        (repository("full"), GOOD, None, "cannot tell whether the timers run"),
    ],
)
def test_backup_fails(found: Any, check: Any, there: Any, words: str) -> None:
    says(backup(found, check, there, 2000), "failed", words)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 min"), (59, "0 min"), (3599, "59 min"), (3660, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_age(seconds: float, text: str) -> None:
    assert judgement_access.age(seconds) == text


# --- firewall ---------------------------------------------------------------------------------


def reached(cluster: Cluster, *wrong: tuple[str, str, int], down: str = "") -> Any:
    """Return what every host reaches when all is well, except for `wrong` (who, whom, port).

    + down: "node2:2379" is a service that does not run
    """
    found: dict[str, dict[str, bool]] = {}
    for prober, host in permutations(cluster.hosts, 2):
        for opening in cluster.openings(host):
            through = any(prober.address in s or s.endswith("/8") for s in opening.sources)
            through &= f"{host.name}:{opening.port}" != down
            through ^= (prober.name, host.name, opening.port) in wrong
            found.setdefault(prober.name, {})[f"{host.address}:{opening.port}"] = through
    return found


@pytest.fixture
def walled() -> Cluster:
    return described(cluster_client_networks=["10.0.0.0/8"])


def test_firewall_whole(walled: Cluster) -> None:
    says(judgement_access.firewall(walled, reached(walled)), "ok", "15 forbidden", "2379, 2380")


def test_firewall_open_to_an_outsider(walled: Cluster) -> None:
    found = judgement_access.firewall(walled, reached(walled, ("haproxy", "node1", 2379)))
    says(found, "failed", "haproxy gets through to node1:2379")


def test_firewall_closed_to_one_who_may(walled: Cluster) -> None:
    found = judgement_access.firewall(walled, reached(walled, ("node1", "node3", 2379)))
    says(found, "failed", "node1 does not get through to node3:2379")


def test_firewall_a_dead_service_does_not_count_as_closed(walled: Cluster) -> None:
    found = judgement_access.firewall(walled, reached(walled, down="node2:2379"))
    says(found, "warning", "node2:2379", "closed, or not running")


def test_firewall_hosts_that_are_lost_prove_nothing(walled: Cluster) -> None:
    some = {k: v for k, v in reached(walled).items() if k not in ("node2", "pgbackrest")}
    says(judgement_access.firewall(walled, some), "ok", "4 forbidden")
    nodes = {k: v for k, v in some.items() if k != "haproxy"}
    says(judgement_access.firewall(walled, nodes), "skipped")
    says(judgement_access.firewall(walled, {}), "skipped")


def test_firewall_targets_are_the_others_ports_in_this_run(walled: Cluster) -> None:
    targets = judgement_access.targets(walled, walled.host("node1"), ["node1", "node2", "haproxy"])
    assert "10.0.0.12:5432" in targets
    assert "10.0.0.31:5000" in targets
    assert not [target for target in targets if target.startswith(("10.0.0.11", "10.0.0.13"))]


# --- certificates -----------------------------------------------------------------------------


def test_certificates_good_and_shown(cluster: Cluster) -> None:
    days = {"the authority": 3000.0, "etcd@node1": 80.4, "postgres@node1": 61.0}
    found = judgement_tls.certificates(cluster, days, {"node1": []})
    says(found, "ok", "3 certificates", "ends in 61 days (postgres@node1)")


def test_certificates_to_be_renewed(cluster: Cluster) -> None:
    found = judgement_tls.certificates(cluster, {"etcd@node1": 29.9, "etcd@node2": 80}, {})
    says(found, "warning", "ends in 30 days (etcd@node1)")


def test_certificates_ended_or_wrong(cluster: Cluster) -> None:
    wrong = {"node1": [], "node2": ["the certificate of etcd@node2: there is none"]}
    found = judgement_tls.certificates(cluster, {"etcd@node1": -0.1, "etcd@node2": -inf}, wrong)
    says(found, "failed", "of etcd@node1 has ended", "node2: the certificate of etcd@node2: there")


def test_certificates_renewed_on_the_disk_only(cluster: Cluster) -> None:
    wrong = {"node2": ["port 5432 shows an old certificate"]}
    found = judgement_tls.certificates(cluster, {"postgres@node2": 90}, wrong)
    says(found, "failed", "node2: port 5432 shows an old certificate")


def test_certificates_of_no_host(cluster: Cluster) -> None:
    says(judgement_tls.certificates(cluster, {}, {}), "skipped", "no host of this run")


# --- hosts and the report ---------------------------------------------------------------------


def test_hosts() -> None:
    says(judgement.hosts(["a", "b"], [], []), "ok", "2 of 2")
    says(judgement.hosts(["a"], ["b"], []), "failed", "b cannot be reached")
    unfit = judgement.hosts(["a"], [], [], [("c: no sudo", "allow it.")])
    assert (unfit.status, unfit.evidence, unfit.hint) == ("failed", "c: no sudo", "allow it.")
    says(judgement.hosts(["a"], [], ["c"]), "ok", "not part of this run: c")


def test_unproven_is_skipped_only_when_nobody_was_to_be_asked() -> None:
    says(judgement.unproven("etcd", "etcd", False), "skipped", "etcd")
    says(judgement.unproven("etcd", "etcd", True), "failed", "could be asked")


PROOFS = [
    Proof("etcd", "ok", "3 of 3 members healthy"),
    Proof("firewall", "failed", "haproxy gets through to node1:2379 " * 4, "look there."),
    Proof("versions", "warning", "etcd is old", "upgrade."),
]


def test_table_fits_the_width_and_ends_with_the_verdict() -> None:
    lines = report.table(PROOFS, width=80)
    assert all(len(line.replace("\x1b", "")) <= 80 + 10 for line in lines)  # colours do not show
    assert any("FAILED" in line for line in lines)
    assert "HINT: look there." in "\n".join(lines)
    assert lines[-1] == "  1 of 3 proofs failed: firewall"


def test_verdict_of_a_good_cluster() -> None:
    skipped = replace(PROOFS[0], name="reads", status="skipped")
    assert report.verdict([PROOFS[0], PROOFS[2], skipped]) == "1 proofs hold, 1 warn, 1 skipped"


def test_document_says_ok_unless_a_proof_failed() -> None:
    found = json.loads(report.document("pgha", PROOFS))
    assert (found["cluster"], found["ok"]) == ("pgha", False)
    assert found["proofs"][0] == vars(PROOFS[0])
    assert json.loads(report.document("pgha", PROOFS[2:]))["ok"]


# --- what the facts read ----------------------------------------------------------------------


def test_sessions_are_told_apart() -> None:
    output = [
        "ask", "answer|10.0.0.11|5432|f", "written|0/C0000A0",
        "ask", "answer|10.0.0.12|5432|t", "ERROR:  cannot assign TransactionIds during recovery",
        "ask", 'psql: error: connection to server at "x", port 5001 failed: refused', "\tIs it up?",
        "end",
    ]  # fmt: skip
    leading, replica, silent = RoutedSessions().process(output)
    assert (leading["address"], leading["in_recovery"], leading["written"]) == (
        "10.0.0.11", False, True,
    )  # fmt: skip
    assert (replica["in_recovery"], replica["written"]) == (True, False)
    assert (silent["address"], silent["error"][-7:]) == ("", "refused")


def test_a_password_is_never_part_of_the_command() -> None:
    command = RoutedSessions().command("/bin/psql", "10.0.0.31", 5000, "app", "app", 4)
    assert "read -r PGPASSWORD" in str(command)
    assert "PGPASSWORD=" not in str(command)


def test_the_other_facts_read_their_commands() -> None:
    assert OpenPorts().process(["open a:1", "closed b:2", "end"]) == {"a:1": True, "b:2": False}
    assert SwitchedWal().process([SEGMENT]) == SEGMENT
    assert SwitchedWal().process(["replica"]) == ""
    assert SwitchedWal().process([SEGMENT, "unknown"]) is None
    assert ArchivedSegment().process(["18-1/x.zst", "end"]) == "18-1/x.zst"
    assert ArchivedSegment().process(["end"]) is None
    command = str(ArchivedSegment().command("pgha", SEGMENT, repository=2))
    assert command.count("--repo=2 ") == 2
    assert BackupCheck().process(["passed"])["passed"]
    refused = BackupCheck().process(["P00  ERROR: [082]: late", "  HINT: x", "refused"])
    assert refused == Check(passed=False, error="[082]: late")


def test_views_of_members_that_answer_and_one_that_does_not() -> None:
    answer = json.dumps({"members": [{"name": "node1", "role": "leader", "state": "running",
                                      "timeline": 1}], "pause": True})  # fmt: skip
    found = PatroniViews().process([f"https://a {answer}", "https://b null"])
    assert found["https://b"] is None
    assert found["https://a"] is not None
    assert found["https://a"]["paused"]
    assert found["https://a"]["members"][0]["name"] == "node1"
