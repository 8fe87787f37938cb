"""What follows from the hosts and settings of a cluster."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import timing
from cluster import ARCHIVE_PUSH, Cluster
from description import HostData, describe
from tests.clusters import DEFAULTS, OFFSITE, described, inventory_of

NODES = ("10.0.0.11/32", "10.0.0.12/32", "10.0.0.13/32")
PROXY, REPOSITORY = "10.0.0.31/32", "10.0.0.41/32"
CLIENTS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
OPENINGS: dict[str, dict[int, Sequence[str]]] = {
    "node1": {
        2379: NODES,
        2380: NODES,
        8008: (*NODES, PROXY),
        5432: (*NODES, PROXY, REPOSITORY),
    },
    "haproxy": {5000: CLIENTS, 5001: CLIENTS, 6432: CLIENTS},
    "pgbackrest": {},
}


@pytest.mark.parametrize(("host", "wanted"), OPENINGS.items(), ids=OPENINGS)
def test_opens_only(host: str, wanted: dict[int, Sequence[str]], cluster: Cluster) -> None:
    assert _openings(cluster, host) == {port: set(of) for port, of in wanted.items()}


def test_opens_etcd_to_database_hosts_that_are_no_members() -> None:
    cluster = described(
        groups={"node2": ["postgres"], "node3": ["postgres"]}, addresses={"node3": "10.0.9.9"}
    )
    found = _openings(cluster, "node1")
    assert found[2379] == {"10.0.0.11/32", "10.0.0.12/32", "10.0.9.9/32"}
    assert found[2380] == {"10.0.0.11/32"}
    assert 2379 not in _openings(cluster, "node3")


def test_ports_follow_the_settings() -> None:
    cluster = described(
        etcd_client_port=1, etcd_peer_port=2, patroni_rest_port=3, postgresql_port=4,
        haproxy_rw_port=5, haproxy_ro_port=6, pgbouncer_port=7,
    )  # fmt: skip
    assert set(_openings(cluster, "node1")) == {1, 2, 3, 4}
    assert set(_openings(cluster, "haproxy")) == {5, 6, 7}


def test_a_database_host_answers_no_client_when_it_also_routes() -> None:
    cluster = described(groups={"node3": ["etcd", "postgres", "haproxy"]})
    assert _open_to_clients(cluster, "node3") == {5000, 5001, 6432}


SHARED: dict[str, Any] = {
    "groups": {"haproxy2": ["haproxy"]},
    "addresses": {"haproxy2": "10.0.0.32"},
    "haproxy_virtual_ip": "10.0.0.30",
}


def test_a_virtual_ip_is_certified_on_every_member() -> None:
    cluster = described(**SHARED)
    for node in cluster.postgres_members:
        (postgres,) = (one for one in cluster.identities(node) if one.owner == "postgres")
        assert {"10.0.0.30", "10.0.0.31", "10.0.0.32"} <= set(postgres.addresses)


def test_only_those_who_share_a_virtual_ip_speak_vrrp(cluster: Cluster) -> None:
    shared = described(**SHARED)
    peers = {host.name: shared.vrrp_peers(host) for host in shared.hosts}
    assert {name: of for name, of in peers.items() if of} == {
        "haproxy": ("10.0.0.32",),
        "haproxy2": ("10.0.0.31",),
    }
    assert not any(cluster.vrrp_peers(host) for host in cluster.hosts)


def test_pg_hba_lets_in_each_role_from_where_it_acts(cluster: Cluster) -> None:
    per_node = [
        line
        for node in NODES
        for line in (
            f"hostssl replication replicator {node} scram-sha-256",
            f"hostssl postgres rewind_user {node} scram-sha-256",
        )
    ]
    assert list(cluster.pg_hba()) == [
        "local all postgres peer",
        "local all all scram-sha-256",
        "local replication replicator peer map=pgha-local",
        *per_node,
        "hostssl app app 10.0.0.41/32 scram-sha-256",
        f"hostssl postgres pgbouncer {PROXY} cert clientname=DN map=pgha",
        f"hostssl all postgres,replicator,rewind_user,pgbouncer {PROXY} reject",
        f"hostssl all all {PROXY} scram-sha-256",
    ]


def test_clients_pass_by_haproxy_only_where_the_settings_say_so(cluster: Cluster) -> None:
    direct = described(postgresql_client_networks=["10.1.0.0/16"])
    assert _openings(direct, "node1")[5432] - _openings(cluster, "node1")[5432] == {"10.1.0.0/16"}
    assert direct.pg_hba()[len(cluster.pg_hba()) :] == (
        "hostssl all postgres,replicator,rewind_user,pgbouncer 10.1.0.0/16 reject",
        "hostssl all all 10.1.0.0/16 scram-sha-256",
    )


def test_the_poolers_role_belongs_to_each_haproxy_hosts_certificate() -> None:
    assert described(**SHARED).pg_ident() == (
        "pgha-local postgres replicator",
        'pgha "OU=pgbouncer@haproxy" pgbouncer',
        'pgha "OU=pgbouncer@haproxy2" pgbouncer',
    )


def test_etcd_endpoints_are_those_of_every_member(cluster: Cluster) -> None:
    assert (
        cluster.etcd_endpoints
        == "https://10.0.0.11:2379,https://10.0.0.12:2379,https://10.0.0.13:2379"
    )


def test_the_live_configuration_follows_the_settings(cluster: Cluster) -> None:
    found = cluster.dynamic_configuration()
    assert {key: found[key] for key in ("ttl", "loop_wait", "retry_timeout")} == {
        "ttl": 20,
        "loop_wait": 3,
        "retry_timeout": 5,
    }
    parameters = found["postgresql"]["parameters"]
    assert parameters.items() >= DEFAULTS["postgresql_parameters"].items()
    assert parameters["archive_command"] == f'{ARCHIVE_PUSH} "%p"'
    assert parameters["password_encryption"] == "scram-sha-256"
    assert found["postgresql"]["use_pg_rewind"] is True
    assert found["failsafe_mode"] is found["check_timeline"] is True


@pytest.mark.parametrize(
    ("level", "mode", "strict", "restarts_in"),
    [("quorum", "quorum", False, 0), ("strict", "quorum", True, 0), ("async", False, False, 60)],
)
def test_each_level_of_durability(level: str, mode: Any, strict: bool, restarts_in: int) -> None:
    found = described(cluster_durability=level).dynamic_configuration()
    assert found["synchronous_mode"] == mode
    assert found["synchronous_mode_strict"] is strict
    assert found["primary_start_timeout"] == restarts_in


def test_only_without_a_vote_a_lag_in_bytes_decides_who_may_lead() -> None:
    """Replicas that lag after a bulk load would never be allowed to lead, and never catch up."""
    lags = {
        level: described(cluster_durability=level).dynamic_configuration()[
            "maximum_lag_on_failover"
        ]
        for level in ("quorum", "strict", "async")
    }
    assert lags["async"] == 1048576
    assert min(lags["quorum"], lags["strict"]) > 1 << 50


def test_a_profile_fills_what_is_left_open_and_nothing_else() -> None:
    cluster = described(cluster_timing="relaxed", patroni_loop_wait=7)
    patroni, etcd = cluster.patroni, cluster.etcd
    assert (patroni.ttl, patroni.loop_wait, patroni.retry_timeout) == (45, 7, 15)
    assert (etcd.heartbeat_ms, etcd.election_ms) == (300, 3000)
    assert cluster.haproxy.check_ms == 2000


@pytest.mark.parametrize("profile", timing.PROFILES)
def test_every_profile_leaves_failsafe_mode_time_to_ask(profile: str) -> None:
    patroni = described(cluster_timing=profile).patroni
    assert patroni.ttl - patroni.loop_wait - 2 * patroni.retry_timeout >= 5


def test_profiles_name_the_same_settings() -> None:
    fast, relaxed = timing.PROFILES["fast"], timing.PROFILES["relaxed"]
    assert (
        fast.keys()
        == relaxed.keys()
        == {
            name
            for name, value in DEFAULTS.items()
            if value is None
            and name not in {"haproxy_virtual_ip", "pgbackrest_process_max", "pgbackrest_source"}
        }
    )


def test_each_of_several_repositories_is_archived_to_by_itself() -> None:
    found = described(pgbackrest_repositories=[OFFSITE]).dynamic_configuration()
    command = found["postgresql"]["parameters"]["archive_command"]
    assert command == f'{ARCHIVE_PUSH} "%p"'
    assert "pgbackrest" in command, "`pgbackrest check` would refuse it"


@pytest.mark.parametrize(("nodes", "streams"), [(1, 20), (3, 20), (9, 20), (10, 22), (15, 32)])
def test_every_member_has_room_to_stream_twice(nodes: int, streams: int) -> None:
    cluster = describe(inventory_of([1], range(1, nodes + 1), [20], 21))
    parameters = cluster.dynamic_configuration()["postgresql"]["parameters"]
    assert (parameters["max_wal_senders"], parameters["max_replication_slots"]) == (
        streams,
        streams,
    )


def _openings(cluster: Cluster, host: str) -> dict[int, set[str]]:
    found = cluster.openings(cluster.host(host))
    assert len({opening.port for opening in found}) == len(found)
    return {opening.port: set(opening.sources) for opening in found}


def _open_to_clients(cluster: Cluster, host: str) -> set[int]:
    clients = {str(network) for network in cluster.general.client_networks}
    return {port for port, sources in _openings(cluster, host).items() if sources & clients}


# --- of any inventory --------------------------------------------------------------------------

NUMBERS = st.sets(st.integers(1, 7), min_size=1)


@st.composite
def inventories(draw: st.DrawFn) -> list[HostData]:
    """Return a valid inventory: roles overlap at will, the repository is no database host."""
    etcd = draw(NUMBERS.filter(lambda numbers: len(numbers) % 2 == 1))
    postgres = draw(NUMBERS)
    repository = draw(st.sampled_from([n for n in range(1, 9) if n not in postgres]))
    return inventory_of(etcd, postgres, draw(NUMBERS), repository)


@given(inventories())
def test_no_port_of_a_database_or_etcd_host_is_open_to_clients(hosts: list[HostData]) -> None:
    cluster = describe(hosts)
    for host in cluster.hosts:
        assert _open_to_clients(cluster, host.name) == (
            {5000, 5001, 6432} if host.is_haproxy else set()
        )


# Who may reach what, said a second time and in other words than cluster.py's.
USERS: dict[int, Callable[[Cluster], set[str]]] = {
    2379: lambda c: _addresses(c, "etcd", "postgres"),
    2380: lambda c: _addresses(c, "etcd"),
    8008: lambda c: _addresses(c, "postgres", "haproxy"),
    5432: lambda c: _addresses(c, "postgres", "haproxy", "pgbackrest"),
}
SERVERS = {2379: "etcd", 2380: "etcd", 8008: "postgres", 5432: "postgres", 5000: "haproxy",
           5001: "haproxy", 6432: "haproxy"}  # fmt: skip


@given(inventories())
def test_a_port_is_open_where_its_service_runs_to_those_who_use_it(hosts: list[HostData]) -> None:
    cluster = describe(hosts)
    for host in cluster.hosts:
        found = _openings(cluster, host.name)
        assert set(found) == {port for port, group in SERVERS.items() if group in host.groups}
        for port in found.keys() & USERS.keys():
            assert found[port] == USERS[port](cluster)


@given(inventories())
def test_pg_hba_trusts_nobody_and_ends_where_the_cluster_ends(hosts: list[HostData]) -> None:
    cluster = describe(hosts)
    lines = [line.split() for line in cluster.pg_hba()]
    ways = {" ".join(line[3 if line[0] == "local" else 4 :]) for line in lines}
    certificate = "cert clientname=DN map=pgha"
    assert ways == {"peer", "peer map=pgha-local", "scram-sha-256", "reject", certificate}
    networks = {line[3] for line in lines if line[0] == "hostssl"}
    assert {line[0] for line in lines} == {"local", "hostssl"}
    assert networks == _addresses(cluster, "postgres", "haproxy", "pgbackrest")


@given(inventories())
def test_own_roles_are_refused_before_anyone_is_let_in(hosts: list[HostData]) -> None:
    cluster = describe(hosts)
    for proxy in cluster.haproxy_hosts:
        from_proxy = [line.split() for line in cluster.pg_hba() if f"{proxy.address}/32" in line]
        to_any = [line for line in from_proxy if line[1] == "all"]
        assert to_any[0][2:] == [
            "postgres,replicator,rewind_user,pgbouncer",
            f"{proxy.address}/32",
            "reject",
        ]


@given(inventories())
def test_a_certificate_alone_opens_one_role_of_one_database(hosts: list[HostData]) -> None:
    lines = [line.split() for line in describe(hosts).pg_hba()]
    assert {tuple(line[1:3]) for line in lines if "cert" in line} == {("postgres", "pgbouncer")}


@given(inventories())
def test_every_member_is_in_the_endpoints(hosts: list[HostData]) -> None:
    cluster = describe(hosts)
    assert len(cluster.etcd_endpoints.split(",")) == len(cluster.etcd_members)
    assert all(cluster.etcd_client_url(m) in cluster.etcd_endpoints for m in cluster.etcd_members)


def _addresses(cluster: Cluster, *groups: str) -> set[str]:
    return {f"{host.address}/32" for group in groups for host in cluster.group(group)}
