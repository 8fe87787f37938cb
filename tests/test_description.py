"""Which inventories are taken and which are refused: in one line with the way out as a HINT."""

from collections.abc import Sequence
from typing import Any

import pytest

from description import PORT_SETTINGS, HostData, describe
from setting_types import SettingsError
from settings import KNOWN_NAMES
from tests.clusters import DEFAULTS, REMOVED, described, five_hosts
from tests.refusals import in_form, refusal

# With "pgbackrest@" before it one character more than a common name may have.
LONG = "n" * 54

# situation: (changes, what the problem names, what the HINT names)
BAD_INVENTORIES: dict[str, tuple[dict[str, Any], Sequence[str], str]] = {
    "two_etcd_members": (
        {"groups": {"node3": ["postgres"]}},
        ["etcd has 2 members, an even number"],
        "one more or one less",
    ),
    "four_etcd_members": (
        {"groups": {"haproxy": ["haproxy", "etcd"]}},
        ["etcd has 4 members"],
        "one more or one less",
    ),
    **{
        f"no_{group}_host": (
            {"groups": changes},
            [f"the group {group} is missing or empty"],
            "name its hosts in the inventory",
        )
        for group, changes in {
            "etcd": {f"node{i}": ["postgres"] for i in (1, 2, 3)},
            "postgres": {f"node{i}": ["etcd"] for i in (1, 2, 3)},
            "haproxy": {"haproxy": []},
            "pgbackrest": {"pgbackrest": []},
        }.items()
    },
    "two_repositories": (
        {"groups": {"spare": ["pgbackrest"]}, "addresses": {"spare": "10.0.0.42"}},
        ["the group pgbackrest has 2 hosts"],
        "one repository host",
    ),
    "repository_on_a_database_host": (
        {"groups": {"node1": ["etcd", "postgres", "pgbackrest"], "pgbackrest": []}},
        ["node1", "postgres and pgbackrest"],
        "a host of its own",
    ),
    "one_address_twice": (
        {"addresses": {"node3": "10.0.0.11"}},
        ["two hosts have the address 10.0.0.11"],
        "each needs its own",
    ),
    "address_that_is_a_name": (
        {"addresses": {"node2": "node2.example.org"}},
        ["node2", "'node2.example.org', is not an IPv4 address"],
        '("node2", {"address": "10.0.0.11"})',
    ),
    "address_out_of_range": (
        {"addresses": {"haproxy": "10.0.0.256"}},
        ["the address of haproxy", "10.0.0.256"],
        "address",
    ),
    "address_with_its_network": (
        {"addresses": {"haproxy": "10.0.0.31/24"}},
        ["the address of haproxy"],
        "address",
    ),
    "address_of_the_other_protocol": (
        {"addresses": {"haproxy": "fd00::31"}},
        ["the address of haproxy", "fd00::31"],
        "address",
    ),
    "no_address_and_a_name_that_is_none": (
        {"data": {"pgbackrest": {"address": REMOVED}}},
        ["the address of pgbackrest, 'pgbackrest'"],
        "address",
    ),
    **{
        f"address_given_as_{address!r}": (
            {"data": {"node2": {"address": address, "ssh_hostname": "10.0.0.99"}}},
            [f"the address of node2, {address!r}, is not"],
            "address",
        )
        for address in (
            "",
            None,
            "0.0.0.0",  # noqa: S104 - to be refused
            "127.0.0.1",
            "169.254.0.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        )
    },
    "ssh_port_that_is_true": (
        {"data": {"node2": {"ssh_port": True}}},
        ["the ssh_port of node2, True, is not a port"],
        "1 to 65535",
    ),
    "a_host_in_no_group_of_ours": (
        {"groups": {"web": ["other", "inventory"]}},
        ["web is in none of the groups etcd, postgres, haproxy, pgbackrest"],
        "give it an inventory of its own.",
    ),
    "a_group_misspelt": (
        {"groups": {"node4": ["postgre", "docker"]}},
        ["node4 is in none of the groups"],
        "did you mean the group postgres?",
    ),
    "a_stranger_with_settings": (
        {"groups": {"laptop": ["office"]}, "data": {"laptop": {"patroni_tll": 1}}},
        ["laptop is in none of the groups"],
        "an inventory of its own",
    ),
    "hosts_disagree": (
        {"data": {"node2": {"patroni_ttl": 40}}},
        ["patroni_ttl", "None on node1", "40 on node2"],
        "group_data/all.py",
    ),
    "hosts_disagree_on_a_general_setting": (
        {"data": {"haproxy": {"cluster_name": "other"}}},
        ["cluster_name", "'pgha' on node1", "'other' on haproxy"],
        "one cluster has one value",
    ),
    "one_host_has_an_unknown_setting": (
        {"data": {"pgbackrest": {"pgbackrest_retension_days": 3}}},
        ["unknown setting pgbackrest_retension_days"],
        "did you mean pgbackrest_retention_days?",
    ),
    "unknown_setting_on_an_etcd_host": (
        {"data": {"node3": {"etcd_heartbeat": 100}}},
        ["unknown setting etcd_heartbeat"],
        "did you mean etcd_heartbeat_ms?",
    ),
    "a_name_too_long_for_a_certificate": (
        {
            "groups": {LONG: ["postgres"]}, "addresses": {LONG: "10.0.0.14"},
            "pgbackrest_transport": "tls",
        },
        [f"the host name {LONG!r} is too long for pgbackrest_transport tls", "64 characters"],
        "a shorter name",
    ),
}  # fmt: skip

# situation: (changes, the two that want the port, the host)
PORT_CLASHES: dict[str, tuple[dict[str, Any], tuple[str, str], str]] = {
    "etcds_own_two": ({"etcd_peer_port": 2379}, ("etcd clients", "etcd peers"), "node1"),
    "etcd_and_patroni": ({"patroni_rest_port": 2380}, ("etcd peers", "Patroni REST"), "node1"),
    "patroni_and_postgresql": ({"postgresql_port": 8008}, ("Patroni REST", "PostgreSQL"), "node1"),
    "reads_and_writes": ({"haproxy_ro_port": 5000}, ("writes", "reads"), "haproxy"),
    "statistics_and_reads": (
        {"haproxy_stats_port": 5001},
        ("reads", "HAProxy statistics"),
        "haproxy",
    ),
    "ssh_and_writes": ({"haproxy_rw_port": 22}, ("SSH", "writes"), "haproxy"),
    "ssh_elsewhere_and_postgresql": (
        {"data": {"node2": {"ssh_port": 5432}}},
        ("SSH", "PostgreSQL"),
        "node2",
    ),
    "haproxy_on_a_database_host": (
        {"groups": {"node3": ["etcd", "postgres", "haproxy"]}, "haproxy_rw_port": 5432},
        ("PostgreSQL", "writes"),
        "node3",
    ),
    "statistics_on_a_database_host": (
        {"groups": {"node3": ["etcd", "postgres", "haproxy"]}, "haproxy_stats_port": 8008},
        ("Patroni REST", "HAProxy statistics"),
        "node3",
    ),
}

TAKEN_INVENTORIES: dict[str, dict[str, Any]] = {
    "one_port_on_two_hosts": {"haproxy_rw_port": 5432, "haproxy_stats_port": 8008},
    "haproxy_on_a_database_host": {"groups": {"node3": ["etcd", "postgres", "haproxy"]}},
    "etcd_apart_from_postgresql": {
        "groups": {f"node{i}": ["postgres"] for i in (1, 2, 3)} | {"e": ["etcd"]},
        "addresses": {"e": "10.0.0.51"},
    },
    "one_etcd_member": {"groups": {"node2": ["postgres"], "node3": ["postgres"]}},
    "a_group_more_named_after_the_inventory": {"groups": {"haproxy": ["haproxy", "inventory"]}},
    "a_name_just_short_enough_for_a_certificate": {
        "groups": {LONG[1:]: ["postgres"]},
        "addresses": {LONG[1:]: "10.0.0.14"},
        "pgbackrest_transport": "tls",
    },
    "a_long_name_where_no_certificate_needs_it": {
        "groups": {LONG: ["postgres"]},
        "addresses": {LONG: "10.0.0.14"},
    },
    "a_component_set_where_it_is_not": {"data": {"haproxy": {"patroni_ttl": 99}}},
}


@pytest.mark.parametrize(("bad", "culprits", "way"), BAD_INVENTORIES.values(), ids=BAD_INVENTORIES)
def test_refuses(bad: dict[str, Any], culprits: Sequence[str], way: str) -> None:
    error = refusal(**bad)
    assert [culprit for culprit in culprits if culprit not in error.problem] == []
    assert way in error.hint


@pytest.mark.parametrize(("bad", "rivals", "host"), PORT_CLASHES.values(), ids=PORT_CLASHES)
def test_refuses_two_on_a_port(bad: dict[str, Any], rivals: tuple[str, str], host: str) -> None:
    error = refusal(**bad)
    assert f"of {host} is wanted by {rivals[0]} and {rivals[1]}" in error.problem
    assert [name for name in error.hint.split() if name.strip(".") in PORT_SETTINGS.values()]


def test_a_port_clash_names_both_settings() -> None:
    assert refusal(haproxy_ro_port=5000).hint == "change haproxy_rw_port or haproxy_ro_port."


def test_every_port_has_its_setting() -> None:
    cluster = described(pgbackrest_transport="tls")
    purposes = {opening.purpose for host in cluster.hosts for opening in cluster.openings(host)}
    assert PORT_SETTINGS.keys() == purposes | {"SSH", "HAProxy statistics"}
    assert set(PORT_SETTINGS.values()) - {"ssh_port"} <= KNOWN_NAMES


@pytest.mark.parametrize("good", TAKEN_INVENTORIES.values(), ids=TAKEN_INVENTORIES)
def test_takes(good: dict[str, Any]) -> None:
    described(**good)


def test_refuses_two_hosts_of_one_name() -> None:
    twin = HostData("node1", frozenset({"postgres"}), DEFAULTS | {"address": "10.0.0.77"})
    with pytest.raises(SettingsError) as caught:
        describe([*five_hosts(), twin])
    assert "two hosts have the name node1" in in_form(caught.value).problem


def test_refuses_an_empty_inventory() -> None:
    with pytest.raises(SettingsError, match="the group etcd is missing"):
        describe([])


def test_a_host_without_address_is_reached_as_pyinfra_does() -> None:
    data = {"node1": {"address": REMOVED, "ssh_hostname": "10.0.0.99"}}
    assert described(data=data).host("node1").address == "10.0.0.99"


def test_a_setting_reaches_its_own_hosts_only() -> None:
    cluster = described(data={"haproxy": {"patroni_ttl": 99}})
    assert cluster.patroni.ttl == 20
