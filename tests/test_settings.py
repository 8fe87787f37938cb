"""Bad settings are refused before any host is touched: in one line with the way out as a HINT."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from description import describe
from setting_types import SettingsError
from settings import COMPONENTS, KNOWN_NAMES
from tests.clusters import DEFAULTS, ELSEWHERE, OFFSITE, REMOVED, described, five_hosts
from tests.refusals import in_form, refusal

TWO_PROXIES, SECOND = {"haproxy2": ["haproxy"]}, {"haproxy2": "10.0.0.32"}
# situation: (settings, what the problem names, what the HINT names)
BAD_SETTINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "two_loops_outlast_the_ttl": (
        {"patroni_loop_wait": 10},
        "patroni_loop_wait + 2*patroni_retry_timeout is 20 s, not less than patroni_ttl (20 s)",
        "change one of them",
    ),
    "ttl_below_patronis_minimum": (
        {"patroni_ttl": 19, "patroni_loop_wait": 1, "patroni_retry_timeout": 3},
        "patroni_ttl cannot be 19",
        "it takes 20 to 600 seconds, for which a lost primary keeps the lead.",
    ),
    "loop_wait_below_patronis_minimum": (
        {"patroni_loop_wait": 0},
        "patroni_loop_wait",
        "1 to 300 seconds",
    ),
    "retry_timeout_below_patronis_minimum": (
        {"patroni_retry_timeout": 2},
        "patroni_retry_timeout cannot be 2",
        "3 to 300 seconds",
    ),
    "negative_lag_on_failover": (
        {"patroni_maximum_lag_on_failover": -1},
        "patroni_maximum_lag_on_failover",
        "bytes",
    ),
    "durability_never_heard_of": (
        {"cluster_durability": "always"},
        "cluster_durability cannot be 'always'",
        "quorum, strict or async",
    ),
    "timing_never_heard_of": ({"cluster_timing": "slow"}, "cluster_timing", "fast or relaxed"),
    "election_of_another_profile": (
        {"cluster_timing": "relaxed", "etcd_election_ms": 1000},
        "etcd_election_ms (1000) is less than five times etcd_heartbeat_ms (300)",
        "change one of them",
    ),
    "repository_of_no_known_type": (
        {"pgbackrest_repositories": [OFFSITE | {"type": "ftp"}]},
        "pgbackrest_repositories[0] has no type that is known",
        "types are posix, sftp, s3, azure, gcs",
    ),
    "repository_without_a_type": (
        {"pgbackrest_repositories": ["s3"]},
        "pgbackrest_repositories[0] has no type",
        "types are",
    ),
    "repository_without_a_bucket": (
        {"pgbackrest_repositories": [{k: v for k, v in OFFSITE.items() if k != "bucket"}]},
        "pgbackrest_repositories[0] has no bucket",
        "it takes one word",
    ),
    "repository_with_a_key_among_the_settings": (
        {"pgbackrest_repositories": [ELSEWHERE, OFFSITE | {"key_secret": "s3cr3tOfS3"}]},
        "pgbackrest_repositories[1] has key_secret, which no repository of type s3 takes",
        "stand in the secrets file",
    ),
    "repository_that_keeps_nothing": (
        {"pgbackrest_repositories": [OFFSITE | {"retention_days": 0}]},
        "pgbackrest_repositories[0].retention_days cannot be 0",
        "1 to 9999 days",
    ),
    "repository_with_an_unknown_word": (
        {"pgbackrest_repositories": [OFFSITE | {"uri_style": "folder"}]},
        "pgbackrest_repositories[0].uri_style cannot be 'folder'",
        "it takes host or path",
    ),
    "two_repositories_of_one_name": (
        {"pgbackrest_repositories": [OFFSITE, ELSEWHERE | {"name": "offsite"}]},
        "two repositories have the name offsite",
        "give each",
    ),
    "repository_with_the_name_of_the_first": (
        {"pgbackrest_repositories": [OFFSITE | {"name": "main"}]},
        "two repositories have the name main",
        "main is the first one's",
    ),
    "repository_within_the_first": (
        {
            "pgbackrest_repositories": [
                {
                    "name": "x",
                    "type": "posix",
                    "path": "/data/pgbackrest/x",
                    "retention_days": 1,
                    "full_schedule": "daily",
                }
            ]
        },
        "the path of the repository x (/data/pgbackrest/x) and pgbackrest_repository_path",
        "directory of its own",
    ),
    "reads_from_nobody_known": (
        {"haproxy_ro_fallback": "primary"},
        "haproxy_ro_fallback cannot be 'primary'",
        "leader or none",
    ),
    "readers_of_replicas_without_any_lag": (
        {"haproxy_ro_maximum_lag_mib": 0},
        "haproxy_ro_maximum_lag_mib",
        "1 MiB or more",
    ),
    "virtual_ip_that_is_none": (
        {"haproxy_virtual_ip": "10.0.0"},
        "haproxy_virtual_ip cannot be '10.0.0'",
        "an IPv4 address",
    ),
    "virtual_ip_of_a_host": (
        {"groups": TWO_PROXIES, "addresses": SECOND, "haproxy_virtual_ip": "10.0.0.11"},
        "haproxy_virtual_ip, 10.0.0.11, is the address of node1",
        "that no host has",
    ),
    "virtual_ip_of_nobody_else": (
        {"groups": TWO_PROXIES, "addresses": SECOND, "haproxy_virtual_ip": "127.0.0.1"},
        "haproxy_virtual_ip, 127.0.0.1, is not an address for others",
        "of the network",
    ),
    "virtual_ip_with_nobody_to_share_it": (
        {"haproxy_virtual_ip": "10.0.0.30"},
        "there is one HAProxy host to have it",
        "name another",
    ),
    "strict_with_nobody_to_confirm": (
        {
            "groups": {"node2": ["etcd"], "node3": ["etcd"]},
            "cluster_durability": "strict",
        },
        "node1 has no replica to confirm a commit",
        "take quorum",
    ),
    "no_wal_for_a_lost_replica": (
        {"postgresql_max_slot_wal_keep_mib": -1},
        "postgresql_max_slot_wal_keep_mib",
        "MiB of WAL",
    ),
    "app_role_is_the_superuser": (
        {"app_role": "postgres"},
        "app_role cannot be postgres",
        "choose another name.",
    ),
    "app_role_is_patronis": (
        {"app_role": "replicator"},
        "app_role cannot be replicator",
        "another",
    ),
    "app_database_is_a_template": (
        {"app_database": "template1"},
        "app_database cannot be template1",
        "choose another name.",
    ),
    "owned_parameter_in_other_letters": (
        {"postgresql_parameters": {"Archive_Mode": "off"}},
        "postgresql_parameters must not set archive_mode",
        "remove it",
    ),
    "data_directory_climbs": (
        {"postgresql_data_dir": "/data/../etc"},
        "postgresql_data_dir",
        "two levels",
    ),
    "data_directory_of_the_system": (
        {"postgresql_data_dir": "/etc"},
        "postgresql_data_dir",
        "two levels",
    ),
    "data_directory_within_anothers": (
        {"etcd_data_dir": "/data/pgdata/etcd"},
        "hold each other",
        "a directory of its own",
    ),
    "namespace_without_slashes": (
        {"patroni_namespace": "service"},
        "patroni_namespace",
        "/service/",
    ),
    "setting_misspelt": (
        {"patroni_tll": 30},
        "unknown setting patroni_tll",
        "did you mean patroni_ttl?",
    ),
    "setting_misspelt_in_its_prefix": (
        {"patrony_loop_wait": 10},
        "unknown setting patrony_loop_wait",
        "did you mean patroni_loop_wait?",
    ),
    "address_misspelt": ({"adress": "10.0.0.1"}, "unknown setting adress", "did you mean address?"),
    "setting_never_heard_of": (
        {"haproxy_colour_of_the_lamp": "red"},
        "unknown setting haproxy_colour_of_the_lamp",
        "group_data/all.py",
    ),
    "setting_missing": (
        {"postgresql_port": REMOVED},
        "setting postgresql_port is missing",
        "group_data/all.py",
    ),
    "postgresql_version_too_old": ({"postgresql_version": 16}, "postgresql_version", "17 or 18"),
    "postgresql_version_unborn": ({"postgresql_version": 19}, "postgresql_version", "17 or 18"),
    "postgresql_version_with_minor": (
        {"postgresql_version": 18.1},
        "postgresql_version",
        "17 or 18",
    ),
    "cluster_name_with_capitals": ({"cluster_name": "PGHA"}, "cluster_name", "lower-case letters"),
    "cluster_name_with_digit_first": ({"cluster_name": "1st"}, "cluster_name", "a letter first"),
    "cluster_name_with_slash": ({"cluster_name": "a/b"}, "cluster_name", "letters, digits"),
    "cluster_name_with_space": ({"cluster_name": "a b"}, "cluster_name", "letters, digits"),
    "cluster_name_with_newline": ({"cluster_name": "pgha\n"}, "cluster_name", "letters, digits"),
    "cluster_name_empty": ({"cluster_name": ""}, "cluster_name", "a letter first"),
    "cluster_name_too_long": ({"cluster_name": "a" * 51}, "cluster_name", "50 characters"),
    "cluster_name_a_number": ({"cluster_name": 7}, "cluster_name cannot be 7", "letters"),
    "no_client_network": ({"cluster_client_networks": []}, "cluster_client_networks", "10.0.0.0/8"),
    "client_network_with_host_bits": (
        {"cluster_client_networks": ["10.0.0.5/8"]},
        "cluster_client_networks",
        "a list of networks",
    ),
    "client_network_that_is_none": (
        {"cluster_client_networks": ["anywhere"]},
        "cluster_client_networks cannot be 'anywhere'",
        "10.0.0.0/8",
    ),
    "packages_from_nowhere": ({"packages_source": "internet"}, "packages_source", "distribution"),
    "url_with_last_slash": (
        {"packages_epel_url": "https://example.org/"},
        "packages_epel_url",
        "without a last /",
    ),
    "url_without_scheme": (
        {"packages_pgdg_apt_url": "example.org"},
        "packages_pgdg_apt_url",
        "URL",
    ),
    "port_zero": ({"haproxy_rw_port": 0}, "haproxy_rw_port cannot be 0", "1 to 65535"),
    "port_too_high": ({"etcd_peer_port": 65536}, "etcd_peer_port", "1 to 65535"),
    "port_as_text": ({"postgresql_port": "5432"}, "postgresql_port", "unquoted"),
    "port_as_truth": ({"patroni_rest_port": True}, "patroni_rest_port", "a port"),
    "path_not_absolute": ({"postgresql_data_dir": "data"}, "postgresql_data_dir", "two levels"),
    "path_with_shell_in_it": ({"etcd_data_dir": "/x; rm -rf /"}, "etcd_data_dir", "two levels"),
    "path_with_last_slash": (
        {"pgbackrest_repository_path": "/a/"},
        "repository_path",
        "two levels",
    ),
    "path_is_the_root": ({"postgresql_data_dir": "/"}, "postgresql_data_dir", "two levels"),
    "election_before_five_heartbeats": (
        {"etcd_heartbeat_ms": 100, "etcd_election_ms": 499},
        "etcd_election_ms (499) is less than five times etcd_heartbeat_ms (100)",
        "change one of them",
    ),
    "election_beyond_etcds_limit": ({"etcd_election_ms": 50001}, "etcd_election_ms", "limit"),
    "quota_beyond_what_etcd_advises": ({"etcd_quota_mib": 8193}, "etcd_quota_mib", "8 GiB"),
    "compaction_without_unit": (
        {"etcd_compaction_retention": "1"},
        "etcd_compaction_retention",
        "such as 1h",
    ),
    "role_with_quotes": ({"app_role": 'a"; DROP'}, "app_role", "lower-case letters"),
    "database_with_capitals": ({"app_database": "App"}, "app_database", "lower-case letters"),
    "no_retention": ({"pgbackrest_retention_days": 0}, "pgbackrest_retention_days", "days"),
    "schedule_with_second_line": (
        {"pgbackrest_full_schedule": "daily\nExecStart=/bin/true"},
        "pgbackrest_full_schedule",
        "OnCalendar",
    ),
    "rehearsal_within_the_repository": (
        {"pgbackrest_rehearsal_path": "/data/pgbackrest/rehearsal"},
        "pgbackrest_rehearsal_path (/data/pgbackrest/rehearsal) and pgbackrest_repository_path",
        "directory of its own",
    ),
    "rehearsal_path_too_long_for_a_socket": (
        {"pgbackrest_rehearsal_path": "/data/" + 75 * "x"},
        "pgbackrest_rehearsal_path",
        "an absolute path",
    ),
    "rehearsal_expects_a_number": (
        {"pgbackrest_rehearsal_expected": 7},
        "pgbackrest_rehearsal_expected cannot be 7",
        "as psql -At prints it",
    ),
    "parameters_as_text": ({"postgresql_parameters": "fsync=off"}, "postgresql_parameters", "conf"),
    "parameter_of_two_values": (
        {"postgresql_parameters": {"max_connections": ["b"]}},
        "postgresql_parameters.max_connections cannot be ['b']",
        "as in postgresql.conf",
    ),
    "parameter_without_value": (
        {"postgresql_parameters": {"work_mem": None}},
        "postgresql_parameters.work_mem cannot be None",
        "as in postgresql.conf",
    ),
    "format_unknown": ({"verify_format": "xml"}, "verify_format", "table or json"),
    **{
        f"parameter_{name}_is_ours": (
            {"postgresql_parameters": {"work_mem": "8MB", name: "x"}},
            f"postgresql_parameters must not set {name}",
            "remove it there",
        )
        for name in (
            "archive_command",
            "archive_mode",
            "listen_addresses",
            "max_slot_wal_keep_size",
            "port",
            "synchronous_standby_names",
            "wal_level",
        )
    },
}

TAKEN_SETTINGS: dict[str, dict[str, Any]] = {
    "loops_just_within_the_ttl": {"patroni_loop_wait": 9, "patroni_retry_timeout": 5},
    "patronis_minima": {"patroni_ttl": 20, "patroni_loop_wait": 1, "patroni_retry_timeout": 3},
    "election_of_five_heartbeats": {"etcd_heartbeat_ms": 100, "etcd_election_ms": 500},
    "older_postgresql": {"postgresql_version": 17},
    "longest_cluster_name": {"cluster_name": "a" * 50},
    "name_with_dashes_and_digits": {"cluster_name": "shop-2-main"},
    "anyones_own_data": {"ssh_user": "deploy", "_sudo": True, "colour": "red"},
    "parameters_of_every_type": {
        "postgresql_parameters": {"jit": False, "work_mem": "8MB", "random_page_cost": 1.1}
    },
}


@pytest.mark.parametrize(("bad", "culprit", "way"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_refuses(bad: dict[str, Any], culprit: str, way: str) -> None:
    error = refusal(**bad)
    assert culprit in error.problem
    assert way in error.hint


@pytest.mark.parametrize("good", TAKEN_SETTINGS.values(), ids=TAKEN_SETTINGS)
def test_takes(good: dict[str, Any]) -> None:
    described(**good)


def test_takes_the_defaults_and_they_are_all_there() -> None:
    described()
    assert DEFAULTS.keys() >= KNOWN_NAMES - {
        "phases", "candidate", "address", "secret", "secrets", "ssh_trust_replaced", "target",
        "confirm", "repository", "database", "tables", "load", "bootstrap", "backups",
    }  # fmt: skip
    assert DEFAULTS.keys() <= KNOWN_NAMES


@pytest.mark.parametrize("name", sorted(DEFAULTS.keys() - {"secrets_file", "secrets_command"}))
def test_refuses_without(name: str) -> None:
    assert name in refusal(**{name: REMOVED}).problem


def test_the_culprits_value_stands_in_the_problem() -> None:
    assert "patroni_ttl cannot be 'soon'" in refusal(patroni_ttl="soon").problem


EVERY_FIELD = {
    c.prefix + field: model for c in COMPONENTS for field, model in c.model_fields.items()
}


@pytest.mark.parametrize("name", sorted(EVERY_FIELD))
def test_every_setting_says_what_it_takes(name: str) -> None:
    error = refusal(**{name: object()})
    assert error.hint == f"it takes {EVERY_FIELD[name].description}."
    assert "tuple" not in str(error)


# --- whatever somebody writes there -----------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.tuples(inner)
        | st.frozensets(st.integers(), max_size=2)
    ),
    max_leaves=5,
)
NEARLY_RIGHT = [
    0, 1, -1, 22, 2379, 5432, 70000, 10**30, float("nan"), float("inf"), "", " ", "18",
    "/", "/a", "a", [], {}, [""], {"": ""}, "10.0.0.11", ["0.0.0.0/0"], "\n", "\x00", object(),
]  # fmt: skip


def test_a_key_among_the_settings_is_not_shown() -> None:
    error = refusal(pgbackrest_repositories=[OFFSITE | {"key_secret": "s3cr3tOfS3"}])
    assert "s3cr3tOfS3" not in str(error)


ANY_NAME = pytest.mark.parametrize("name", sorted(KNOWN_NAMES | {"ssh_port", "ssh_hostname"}))


def taken_or_refused(name: str, value: Any) -> None:
    """Fail unless a value is taken or refused in form, on all hosts and on one."""
    for hosts in (five_hosts(**{name: value}), five_hosts(data={"node2": {name: value}})):
        try:
            describe(hosts)
        except SettingsError as error:
            in_form(error)


@ANY_NAME
def test_a_nearly_right_value_is_taken_or_refused(name: str) -> None:
    for value in NEARLY_RIGHT:
        taken_or_refused(name, value)


@ANY_NAME
@pytest.mark.filterwarnings("ignore:__int__ returned non-int")  # networks of True
@settings(max_examples=15)
@given(value=ANYTHING)
def test_any_value_is_taken_or_refused(name: str, value: Any) -> None:
    taken_or_refused(name, value)
