"""What arrives on bare hosts: every file parses as its daemon reads it, and says what it must.

A daemon that is installed here checks its file as well; the parsers alone need none of them.
"""

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import pytest
import yaml

from operations import (
    backup_places,
    backup_proofs,
    certificates,
    clone,
    config_files,
    etcd,
    etcd_access,
    firewall,
    haproxy,
    keepalived,
    packages,
    patroni,
    pgbackrest,
    pgbouncer,
    readers,
    restore_start,
    ssh_trust,
    system,
)
from tests import harness
from tests.clusters import (
    AUTHORITY,
    ELSEWHERE,
    FIVE_HOSTS,
    OFFSITE,
    READER,
    ROOT,
    SECRET_VALUES,
    SECRETS,
    SOURCE,
    described,
)

PLATFORMS = tuple(harness.PLATFORMS)
PATRONI = {"debian": "/etc/patroni/config.yml", "el8": "/etc/patroni/patroni.yml"}
PATRONI["el9"] = PATRONI["el8"]
ETCD = {"debian": "/etc/default/etcd", "el8": "/etc/etcd/etcd.conf", "el9": "/etc/etcd/etcd.conf"}
UNITS = "/etc/systemd/system"
CA, ETCDCTL = "/etc/pgha/ca.crt", "/usr/local/sbin/pgha-etcdctl"
BARE: dict[str, Any] = {
    "Component": {"paths": "none"},
    "EtcdMembers": None,
    "EtcdUsers": None,
    "Identities": "key",
    "InstalledPackages": {},
    "InterfaceOf": "eth0",
    "HaproxyVersion": (3, 2),
    "SshKeys": {
        "public_key": "ssh-ed25519 AAAAuser",
        "host_keys": ["ssh-ed25519 AAAAhost"],
        "authorized_keys": [],
        "known_hosts": [],
    },
}
OPERATIONS: dict[str, list[Any]] = {
    "etcd": [packages.installed, etcd_access.client, etcd.started],
    "postgres": [
        system.kernel,
        ssh_trust.trusted,
        pgbackrest.database_host,
        patroni.member,
        clone.reachable,
    ],
    "haproxy": [system.kernel, pgbouncer.user, haproxy.routes, pgbouncer.pool],
    "pgbackrest": [
        ssh_trust.trusted,
        pgbackrest.repository,
        backup_proofs.timed,
        readers.admitted,
    ],
}
SHARED: dict[str, Any] = {
    "groups": {"haproxy2": ["haproxy"]},
    "addresses": {"haproxy2": "10.0.0.32"},
    "haproxy_virtual_ip": "10.0.0.30",
}
by_platform = pytest.mark.parametrize("platform", PLATFORMS)


@cache
def written(platform: str, transport: str = "ssh") -> dict[tuple[str, str], str]:
    """Return every file of a first deploy and of a restore, by host and path."""
    found: dict[tuple[str, str], str] = {}
    for host, groups in FIVE_HOSTS.items():
        case: dict[str, Any] = {
            "cluster": {
                "pgbackrest_transport": transport,
                "pgbackrest_repositories": [OFFSITE, ELSEWHERE],
                "pgbackrest_readers": [READER],
                "pgbackrest_source": SOURCE,
            },
            "host": host,
            "platform": platform,
            "facts": BARE,
            "peers": dict.fromkeys(FIVE_HOSTS, BARE),
            "arguments": {
                "in_container": False,
                "names": ["etcd-server", "postgresql-18"],
                "peers": ["node1", "node2", "node3"] if host == "pgbackrest" else ["pgbackrest"],
            },
        }
        own = [operation for group in groups for operation in OPERATIONS[group]]
        for operation in [firewall.policy, certificates.issued, *own]:
            outcome = harness.run(operation, case)
            found |= {(host, path): text for path, text in outcome.files.items()}
    two = {"cluster": SHARED, "host": "haproxy", "platform": platform, "facts": BARE}
    outcome = harness.run(keepalived.shared, two)
    found |= {("haproxy", path): text for path, text in outcome.files.items()}
    facts = BARE | {"RestoreProgress": {}}
    back = {"host": "node2", "platform": platform, "facts": facts}
    outcome = harness.run(restore_start.noted, back)
    return found | {("node2", path): text for path, text in outcome.files.items()}


def text_of(platform: str, host: str, path: str) -> str:
    return written(platform)[host, path]


def complaints(daemon: str, *arguments: str) -> str:
    """Return what the daemon has against a file, where it is installed."""
    if shutil.which(daemon) is None:
        return ""
    return subprocess.run([daemon, *arguments], capture_output=True, text=True).stderr


def texts() -> Iterator[tuple[str, str, str]]:
    """Yield host, path and text of every file on every platform."""
    for platform in PLATFORMS:
        for transport in ("ssh", "tls"):
            for (host, path), text in written(platform, transport).items():
                yield host, path, text


def test_every_template_is_used_and_rendered() -> None:
    written.cache_clear()
    render, used = config_files.render, set()

    def noting(template: str, **values: Any) -> str:
        used.add(template)
        return render(template, **values)

    with patch.object(config_files, "render", noting):
        for platform in PLATFORMS:
            written(platform)
            written(platform, "tls")
    included = {name for template in used for name in _included(template)}
    assert used | included == {path.name for path in config_files.TEMPLATES.iterdir()}


def _included(template: str) -> list[str]:
    text = (config_files.TEMPLATES / template).read_text()
    return re.findall(r'{% (?:include|from) "(.*?)"', text)


def test_no_template_leaves_a_tag_or_a_blank_value() -> None:
    for host, path, text in texts():
        assert text.endswith("\n"), path
        assert not re.search(r"\{[{%#]|[}%#]\}|\bNone\b|Undefined", text), (host, path)


# Which secrets a file holds; every other file holds none, and no host gets the authority's key.
HOLDS: dict[Any, set[str]] = {
    path: {"superuser", "replication", "rewind", "rest_api", "etcd_patroni"}
    for path in PATRONI.values()
} | {
    ETCDCTL: {"etcd_root"},
    CA: {"authority_certificate"},  # for all to see
    # A database host asks the repository host for it.
    ("pgbackrest", "/etc/pgbackrest.conf"): {
        "backup_cipher",
        "offsite.key",
        "offsite.key_secret",
        "elsewhere.passphrase",
    },
    ("pgbackrest", f"{backup_places.KEYS}/elsewhere.private_key"): {"elsewhere.private_key"},
    ("pgbackrest", "/etc/pgha/pgbackrest-rehearsal.conf"): {"backup_cipher"},
    ("pgbackrest", "/etc/pgha/pgbackrest-reader.conf"): {"backup_cipher"},
}


def test_secrets_stand_where_they_are_needed_and_nowhere_else() -> None:
    for host, path, text in texts():
        held = {name for name, value in SECRET_VALUES.items() if value in text}
        assert held == HOLDS.get((host, path), HOLDS.get(path, set())), (host, path)
        assert AUTHORITY.key.splitlines()[1] not in text, (host, path)


def test_files_with_secrets_are_for_their_owner_only() -> None:
    for platform in PLATFORMS:
        for operation, host, modes in (
            (patroni.member, "node1", "600"),
            (etcd_access.client, "node1", "700"),
            (pgbackrest.repository, "pgbackrest", "600"),
            (backup_proofs.timed, "pgbackrest", "600"),
        ):
            outcome = harness.run(operation, {"host": host, "platform": platform, "facts": BARE})
            secret = [command for command in outcome.commands
                      if re.search("Pass[0-9]", harness.stdin(command))]  # fmt: skip
            assert secret
            for command in secret:
                assert f"-m {modes} /dev/stdin" in harness.line_of(command)


# --- TLS --------------------------------------------------------------------------------------


def sources() -> list[Path]:
    """Return every template, and every module but those of tests."""
    found = [*ROOT.glob("*.py"), *config_files.TEMPLATES.iterdir()]
    for folder in ("operations", "facts", "day2", "bench", "testbed", "inventories", "group_data"):
        found += (ROOT / folder).rglob("*.py")
    assert len(found) > 60
    return found


def test_nothing_goes_over_a_network_in_plain_text() -> None:
    """Statistics of HAProxy are the exception: they never leave 127.0.0.1."""
    for host, path, text in texts():
        assert "http://" not in text, (host, path)
    plain = [
        (path.name, address)
        for path in sources()
        for address in re.findall(r"http://[^\s`\"']*", path.read_text())
    ]
    assert set(plain) == {
        ("judgement_access.py", "http://127.0.0.1:{port}/"),
        ("haproxy.py", "http://127.0.0.1:{port}/;csv"),
    }


def test_nobody_takes_a_certificate_on_trust() -> None:
    # What PgBouncer asks of its clients is no trust of its own.
    weak = r"(?<!client_tls_)sslmode[:= ]+['\"]?(disable|allow|prefer|require)"
    careless = rf"verify none|insecure|{weak}|\bcurl -k"
    for text in [*(text for *_, text in texts()), *(path.read_text() for path in sources())]:
        assert not re.search(careless, text), text


@by_platform
def test_every_host_believes_the_one_authority(platform: str) -> None:
    assert {text_of(platform, host, CA) for host in FIVE_HOSTS} == {AUTHORITY.certificate}


@by_platform
def test_roots_etcdctl_proves_itself_and_asks_with_the_password(platform: str) -> None:
    lines = text_of(platform, "node1", ETCDCTL).splitlines()
    assert lines[0] == "#!/bin/sh"
    assert lines[-1] == 'exec etcdctl "$@"'
    pairs = [line.removeprefix("export ").partition("=") for line in lines[3:-1]]
    assert {name: value for name, _, value in pairs} == {
        "ETCDCTL_USER": SECRETS.etcd_root_user,
        "ETCDCTL_PASSWORD": SECRETS.etcd_root,
        "ETCDCTL_CACERT": CA,
        "ETCDCTL_CERT": "/etc/pgha/etcd/tls.crt",
        "ETCDCTL_KEY": "/etc/pgha/etcd/tls.key",
    }


@pytest.mark.parametrize("password", ["two words 12", "a'quote-12345", "$(id)`id`;#&|\\x"])
def test_roots_etcdctl_passes_any_password_on_as_it_is(password: str, tmp_path: Path) -> None:
    with patch.object(harness, "SECRETS", replace(SECRETS, etcd_root=password)):
        text = harness.run(etcd_access.client, {"facts": BARE}).files[ETCDCTL]
    (tmp_path / "etcdctl").write_text('#!/bin/sh\nprintf %s "$ETCDCTL_PASSWORD"\n')
    (tmp_path / "etcdctl").chmod(0o700)
    done = subprocess.run(
        ["/bin/sh", "-c", text], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert (done.stdout, done.stderr) == (password, "")


def test_one_name_is_the_stanza_everywhere() -> None:
    cluster = described(cluster_name="shop-2")
    written.cache_clear()
    with patch.object(harness, "described", lambda **_: cluster):
        everything = list(texts())
    written.cache_clear()
    named = [name for _, _, text in everything for name in re.findall(r"--stanza[= ](\S+)", text)]
    named += [name for _, path, text in everything if path.endswith("pgbackrest.conf")
              for name in re.findall(r"^\[(?!global)(.*)\]$", text, re.M)]  # fmt: skip
    assert len(named) > len(PLATFORMS) * 5
    assert set(named) == {"shop-2"}


def test_wal_is_never_dropped_and_no_old_interface_is_asked() -> None:
    for host, path, text in texts():
        assert "archive-push-queue-max" not in text, (host, path)
        assert "/master" not in text, (host, path)


# --- etcd -------------------------------------------------------------------------------------


def environment(text: str) -> dict[str, str]:
    """Return the variables as systemd's EnvironmentFile would set them."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r'[A-Z_]+="[^"\\$`]*"', line) for line in lines)
    return {key: shlex.split(value)[0] for key, _, value in (x.partition("=") for x in lines)}


@by_platform
def test_etcd_listens_where_its_peers_look(platform: str) -> None:
    found = environment(text_of(platform, "node2", ETCD[platform]))
    assert found["ETCD_NAME"] == "node2"
    assert found["ETCD_LISTEN_PEER_URLS"] == "https://10.0.0.12:2380"
    assert found["ETCD_LISTEN_CLIENT_URLS"] == "https://10.0.0.12:2379,https://127.0.0.1:2379"
    assert found["ETCD_ADVERTISE_CLIENT_URLS"] == "https://10.0.0.12:2379"
    assert "http://" not in " ".join(found.values())
    for role in ("", "PEER_"):
        assert found[f"ETCD_{role}CLIENT_CERT_AUTH"] == "true"
        assert found[f"ETCD_{role}TRUSTED_CA_FILE"] == CA
        assert found[f"ETCD_{role}CERT_FILE"] == "/etc/pgha/etcd/tls.crt"
        assert found[f"ETCD_{role}KEY_FILE"] == "/etc/pgha/etcd/tls.key"
    assert found["ETCD_QUOTA_BACKEND_BYTES"] == str(2048 * 1024 * 1024)
    assert found["ETCD_AUTO_COMPACTION_MODE"] == "periodic"
    assert not [key for key in found if key.startswith("ETCD_INITIAL")]


@by_platform
def test_etcds_start_file_names_every_member_alike(platform: str) -> None:
    found = [
        environment(text_of(platform, node, f"{ETCD[platform]}-start"))
        for node in ("node1", "node2", "node3")
    ]
    assert len({start["ETCD_INITIAL_CLUSTER"] for start in found}) == 1
    assert found[0]["ETCD_INITIAL_CLUSTER"].count("=https://") == 3
    assert {start["ETCD_INITIAL_CLUSTER_STATE"] for start in found} == {"new"}
    assert found[1]["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == "https://10.0.0.12:2380"


# --- Patroni ----------------------------------------------------------------------------------


def patroni_yml(platform: str, host: str = "node2") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of(platform, host, PATRONI[platform]))
    return found


@by_platform
def test_patroni_speaks_etcds_v3_interface_with_every_member(platform: str) -> None:
    found = patroni_yml(platform)
    assert found["etcd3"] == {
        "hosts": ["10.0.0.11:2379", "10.0.0.12:2379", "10.0.0.13:2379"],
        "protocol": "https",
        "cacert": CA,
        "cert": "/etc/pgha/postgres/tls.crt",
        "key": "/etc/pgha/postgres/tls.key",
        "username": SECRETS.etcd_patroni_user,
        "password": SECRETS.etcd_patroni,
    }
    assert "etcd" not in found


@by_platform
def test_patroni_listens_on_its_own_addresses_only(platform: str) -> None:
    found = patroni_yml(platform)
    assert (found["scope"], found["name"], found["namespace"]) == ("pgha", "node2", "/service/")
    assert found["restapi"]["listen"] == found["restapi"]["connect_address"] == "10.0.0.12:8008"
    assert found["postgresql"]["listen"] == "10.0.0.12,127.0.0.1:5432"
    assert found["postgresql"]["connect_address"] == "10.0.0.12:5432"


@by_platform
def test_patroni_gives_each_role_its_own_password(platform: str) -> None:
    roles = patroni_yml(platform)["postgresql"]["authentication"]
    assert {role: login["password"] for role, login in roles.items()} == {
        "superuser": SECRETS.superuser,
        "replication": SECRETS.replication,
        "rewind": SECRETS.rewind,
    }
    assert len({login["username"] for login in roles.values()}) == 3
    assert patroni_yml(platform)["restapi"]["authentication"]["password"] == SECRETS.rest_api


@by_platform
def test_patroni_takes_changes_from_members_with_a_certificate_only(platform: str) -> None:
    found = patroni_yml(platform)
    rest, own = found["restapi"], {"certfile": "/etc/pgha/postgres/tls.crt",
                                   "keyfile": "/etc/pgha/postgres/tls.key"}  # fmt: skip
    assert rest.items() >= {**own, "cafile": CA, "verify_client": "optional"}.items()
    assert rest["allowlist_include_members"] is True
    assert rest["allowlist"] == ["127.0.0.1", "10.0.0.11", "10.0.0.12", "10.0.0.13"]
    assert found["ctl"] == {**own, "cacert": CA}


@by_platform
def test_members_connect_to_the_primary_they_meant(platform: str) -> None:
    for role, login in patroni_yml(platform)["postgresql"]["authentication"].items():
        assert (login["sslmode"], login["sslrootcert"]) == ("verify-full", CA), role


@by_platform
def test_postgresql_speaks_tls_with_its_own_certificate(platform: str) -> None:
    parameters = patroni_yml(platform)["bootstrap"]["dcs"]["postgresql"]["parameters"]
    assert {name: value for name, value in parameters.items() if name.startswith("ssl")} == {
        "ssl": "on",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_ca_file": CA,
        "ssl_cert_file": "/etc/pgha/postgres/tls.crt",
        "ssl_key_file": "/etc/pgha/postgres/tls.key",
    }


@by_platform
def test_patroni_makes_a_cluster_with_checksums_and_utf8(platform: str) -> None:
    bootstrap = patroni_yml(platform)["bootstrap"]
    assert "data-checksums" in bootstrap["initdb"]
    assert {"encoding": "UTF8"} in bootstrap["initdb"]
    wanted = described(pgbackrest_repositories=[OFFSITE, ELSEWHERE]).dynamic_configuration()
    assert bootstrap["dcs"] == {**wanted, "pgha_applied": wanted}


@by_platform
def test_a_replica_is_filled_from_the_repository_first(platform: str) -> None:
    found = patroni_yml(platform)["postgresql"]
    first, second = found["create_replica_methods"]
    assert found[first] == {"command": "/usr/local/bin/pgha-replica-fill", "keep_data": True}
    assert second == "basebackup"


def test_a_watchdog_is_armed_on_real_hosts_only() -> None:
    assert patroni_yml("debian")["watchdog"] == {"mode": "automatic"}
    case = {"facts": BARE, "arguments": {"in_container": True}}
    text = harness.run(patroni.member, case).files[PATRONI["debian"]]
    assert yaml.safe_load(text)["watchdog"] == {"mode": "off"}


@by_platform
def test_patronis_pg_hba_is_the_clusters(platform: str) -> None:
    found = patroni_yml(platform)["postgresql"]
    assert found["pg_hba"] == list(described().pg_hba())
    assert found["bin_dir"] == harness.PLATFORMS[platform].postgresql_bin
    assert found["pgpass"].startswith(harness.PLATFORMS[platform].postgres_home)


@pytest.mark.parametrize("name", ["on", "null", "1", "0x10", "1e3"])
def test_patroni_keeps_a_host_name_that_yaml_would_take_for_something_else(name: str) -> None:
    case = {
        "cluster": {"groups": {name: ["postgres"]}, "addresses": {name: "10.0.0.51"}},
        "host": name,
        "facts": BARE,
    }
    text = harness.run(patroni.member, case).files[PATRONI["debian"]]
    assert yaml.safe_load(text)["name"] == name


# --- HAProxy ----------------------------------------------------------------------------------


def sections(text: str) -> dict[str, list[str]]:
    """Return the lines of each section of haproxy.cfg."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            found[line.strip()] = lines = []
        elif line.strip() and not line.strip().startswith("#"):
            lines.append(" ".join(line.split()))
    return found


HAPROXY_CFG = "/etc/haproxy/haproxy.cfg"


@by_platform
def test_haproxy_asks_patroni_who_is_who(platform: str) -> None:
    found = sections(text_of(platform, "haproxy", HAPROXY_CFG))
    assert "bind :5000" in found["listen rw"]
    assert found["frontend ro"] == [
        "bind :5001",
        "use_backend ro_leader if { nbsrv(ro_replicas) eq 0 }",
        "default_backend ro_replicas",
    ]
    for name, question in (
        ("listen rw", "GET /primary"),
        ("backend primary_now", "GET /primary"),
        ("backend ro_replicas", "OPTIONS /replica?lag=64MB"),
        ("backend ro_leader", "GET /primary"),
    ):
        lines = found[name]
        assert f"option httpchk {question}" in lines
        otherwise = "" if name == "backend primary_now" else " error-status L7OKC"
        assert f"http-check expect status 200{otherwise}" in lines
        assert ("default-server init-state down" in lines) == (name != "listen rw")
        assert [line for line in lines if line.startswith("server ")] == [
            f"server node{i} 10.0.0.1{i}:5432 check port 8008 check-ssl verify required"
            f" ca-file /etc/pgha/ca.crt check-sni node{i} verifyhost node{i}"
            for i in (1, 2, 3)
        ]


@by_platform
def test_haproxy_ends_sessions_of_a_lost_primary_and_of_no_other(platform: str) -> None:
    found = sections(text_of(platform, "haproxy", HAPROXY_CFG))
    ends = [name for name, lines in found.items() if "on-marked-down" in " ".join(lines)]
    assert ends == ["listen rw"]


@pytest.mark.parametrize(("check_ms", "wait_ms"), [(1000, 2000), (2000, 3500)])
def test_haproxy_lets_writers_wait_until_it_has_asked_everybody(
    check_ms: int, wait_ms: int
) -> None:
    case = {"host": "haproxy", "facts": BARE, "cluster": {"haproxy_check_ms": check_ms}}
    lines = sections(harness.run(haproxy.routes, case).files[HAPROXY_CFG])["listen rw"]
    asked = f"inter {check_ms // 2}ms fastinter {check_ms}ms"
    assert any(line.startswith(f"default-server {asked} ") for line in lines)
    assert [line for line in lines if line.startswith("tcp-request")] == [
        f"tcp-request inspect-delay {wait_ms}ms",
        *(
            "tcp-request content accept if { nbsrv(primary_now) eq 1 }"
            f" {{ srv_is_up(primary_now/{node}) }} {{ srv_is_up(rw/{node}) }}"
            for node in ("node1", "node2", "node3")
        ),
        "tcp-request content accept if { nbsrv(primary_now) eq 0 } { nbsrv le 1 }",
        "tcp-request content reject if WAIT_END",
    ]


def test_haproxy_sends_writers_to_the_one_that_says_so_now() -> None:
    found = sections(text_of("debian", "haproxy", HAPROXY_CFG))
    assert [line for line in found["listen rw"] if line.startswith("use-server")] == [
        f"use-server {node} if {{ srv_is_up(primary_now/{node}) }}"
        for node in ("node1", "node2", "node3")
    ]
    assert "default-server inter 500ms rise 1 fall 1" in found["backend primary_now"]


@pytest.mark.parametrize("section", ["listen rw", "backend primary_now", "backend ro_leader"])
def test_haproxy_takes_nobody_for_the_primary_before_it_is_promoted(section: str) -> None:
    lines = sections(text_of("debian", "haproxy", HAPROXY_CFG))[section]
    patterns = [re.search('rstring "(.*)"(?: error-status L7OKC)?$', line) for line in lines]
    (pattern,) = [found[1].replace('\\"', '"') for found in patterns if found]
    assert re.search(pattern, '{"state": "running", "role": "primary"}')
    assert not re.search(pattern, '{"state": "running", "role": "replica"}')


def test_haproxy_reads_from_no_leader_where_the_settings_say_so() -> None:
    case = {"host": "haproxy", "facts": BARE, "cluster": {"haproxy_ro_fallback": "none"}}
    found = sections(harness.run(haproxy.routes, case).files[HAPROXY_CFG])
    assert found["frontend ro"] == ["bind :5001", "default_backend ro_replicas"]
    assert "backend ro_leader" not in found


@by_platform
def test_haproxy_cuts_no_idle_session_and_shows_statistics_to_nobody_outside(platform: str) -> None:
    found = sections(text_of(platform, "haproxy", HAPROXY_CFG))
    assert {"timeout client 24d", "timeout server 24d", "option clitcpka"} <= set(found["defaults"])
    assert "bind 127.0.0.1:7000" in found["listen statistics"]
    backends = {f"backend {name}" for name in ("primary_now", "ro_replicas", "ro_leader")}
    backends |= {"listen rw", "frontend ro"}
    assert set(found) == {"global", "defaults", "listen statistics", *backends}


@pytest.mark.parametrize(
    ("version", "conditional", "init_state"),
    [((1, 8), False, False), ((2, 4), True, False), ((3, 2), True, True), (None, True, True)],
)
def test_haproxy_is_told_only_what_its_version_knows(
    version: tuple[int, int] | None, conditional: bool, init_state: bool
) -> None:
    case = {"host": "haproxy", "facts": BARE | {"HaproxyVersion": version}}
    text = harness.run(haproxy.routes, case).files[HAPROXY_CFG]
    assert ("error-status" in text) == ("fall 6" in text) == conditional
    assert ("init-state" in text) == init_state
    rules = [line.count("http-check expect") for line in sections(text)["listen rw"]]
    assert sum(rules) == (2 if conditional else 1), "HAProxy before 2.2 takes one"


def test_haproxy_itself_takes_the_file(tmp_path: Path) -> None:
    text = text_of("debian", "haproxy", HAPROXY_CFG)
    assert all(lines for lines in sections(text).values())
    file, authority = tmp_path / "haproxy.cfg", tmp_path / "ca.crt"
    authority.write_text(AUTHORITY.certificate)
    file.write_text(text.replace(CA, str(authority)))
    assert complaints("haproxy", "-c", "-q", "-f", str(file)) == ""


# --- PgBouncer --------------------------------------------------------------------------------


@by_platform
def test_pgbouncer_keeps_no_password_and_lets_nobody_in_without_one(platform: str) -> None:
    found = ini(text_of(platform, "haproxy", "/etc/pgbouncer/pgbouncer.ini"))["pgbouncer"]
    assert found["auth_type"] == "scram-sha-256"
    assert "auth_file" not in found
    assert "admin_users" not in found, "the console is for the socket, by the user of the service"
    assert found["unix_socket_mode"] == "0700"
    assert (found["client_tls_sslmode"], found["server_tls_sslmode"]) == ("require", "verify-full")
    assert found["client_tls_cert_file"] == "/etc/pgha/pgbouncer/tls.crt"
    assert found["server_tls_ca_file"] == CA


def test_held_sessions_go_on_whatever_happens() -> None:
    service = units()[f"{UNITS}/pgha-hold.service"]["Service"]
    assert service["ExecStopPost"] == "-/usr/local/bin/pgha-hold resume"
    assert int(service["RuntimeMaxSec"]) < 120, "PgBouncer turns waiting clients away after 120 s"
    assert service["User"] == units()[f"{UNITS}/pgbouncer.service.d/pgha.conf"]["Service"]["User"]


@by_platform
def test_patroni_maps_the_poolers_certificate(platform: str) -> None:
    assert patroni_yml(platform)["postgresql"]["pg_ident"] == list(described().pg_ident())


# --- keepalived -------------------------------------------------------------------------------


@by_platform
def test_a_virtual_ip_goes_to_one_that_answers_and_stays_there(platform: str) -> None:
    text = text_of(platform, "haproxy", "/etc/keepalived/keepalived.conf")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert {"state BACKUP", "nopreempt", "version 3", "advert_int 0.5"} <= set(lines)
    assert lines[lines.index("track_script {") + 1] == "haproxy"
    assert "auth_pass" not in text, "a password in clear proves nothing to anybody"


def test_the_firewall_lets_vrrp_in_from_those_who_share_the_address() -> None:
    case = {"cluster": SHARED, "host": "haproxy2", "facts": BARE}
    text = harness.run(firewall.policy, case).files["/etc/firewalld/policies/pgha.xml"]
    policy = ElementTree.fromstring(text.encode())  # noqa: S314  # our own text
    vrrp = [
        (rule.find("source"), protocol.attrib["value"])
        for rule in policy.findall("rule")
        if (protocol := rule.find("protocol")) is not None
    ]
    assert [(s is not None and s.attrib["address"], p) for s, p in vrrp] == [("10.0.0.31", "112")]


# --- pgBackRest -------------------------------------------------------------------------------


def ini(text: str, strict: bool = True) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=strict, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


@by_platform
def test_the_repository_knows_every_database_host(platform: str) -> None:
    found = ini(text_of(platform, "pgbackrest", "/etc/pgbackrest.conf"))
    hosts = {key: value for key, value in found["pgha"].items() if key.endswith("-host")}
    assert hosts == {f"pg{i}-host": f"10.0.0.1{i}" for i in (1, 2, 3)}
    assert found["global"]["repo1-path"] == "/data/pgbackrest"
    assert found["global"]["repo1-retention-full-type"] == "time"
    assert found["global"]["repo1-retention-full"] == "14"
    assert not [key for key in found["global"] if "host" in key and key.startswith("repo1")]


@by_platform
def test_the_repository_is_encrypted(platform: str) -> None:
    found = ini(text_of(platform, "pgbackrest", "/etc/pgbackrest.conf"))["global"]
    assert found["repo1-cipher-type"] == "aes-256-cbc"
    assert found["repo1-cipher-pass"] == SECRETS.backup_cipher


@by_platform
def test_further_repositories_are_told_where_they_are_and_what_opens_them(platform: str) -> None:
    found = dict(ini(text_of(platform, "pgbackrest", "/etc/pgbackrest.conf"))["global"])
    key = "/etc/pgha/pgbackrest-keys/elsewhere.private_key"
    assert {name: value for name, value in found.items() if name[:5] in ("repo2", "repo3")} == {
        "repo2-type": "s3",
        "repo2-path": "/pgha",
        "repo2-s3-bucket": "backups",
        "repo2-s3-endpoint": "s3.example.net",
        "repo2-s3-region": "eu",
        "repo2-s3-uri-style": "host",
        "repo2-s3-key-type": "shared",
        "repo2-s3-key": SECRET_VALUES["offsite.key"],
        "repo2-s3-key-secret": SECRET_VALUES["offsite.key_secret"],
        "repo2-cipher-type": "aes-256-cbc",
        "repo2-cipher-pass": SECRETS.backup_cipher,
        "repo2-retention-full-type": "time",
        "repo2-retention-full": "60",
        "repo2-bundle": "y",
        "repo2-block": "y",
        "repo3-type": "sftp",
        "repo3-path": "/srv/pgha",
        "repo3-sftp-host": "10.9.0.1",
        "repo3-sftp-host-port": "22",
        "repo3-sftp-host-user": "backup",
        "repo3-sftp-host-key-hash-type": "sha256",
        "repo3-sftp-host-key-check-type": "fingerprint",
        "repo3-sftp-host-fingerprint": "0" * 64,
        "repo3-sftp-private-key-file": key,
        "repo3-cipher-type": "aes-256-cbc",
        "repo3-cipher-pass": SECRET_VALUES["elsewhere.passphrase"],
        "repo3-retention-full-type": "time",
        "repo3-retention-full": "7",
        "repo3-bundle": "y",
        "repo3-block": "y",
    }
    service = units()[f"{UNITS}/pgbackrest-backup-elsewhere@.service"]["Service"]
    assert "--repo=3 --type=%i backup" in service["ExecStart"]


PLACES = {
    "azure": ({"account": "acme", "container": "pg"}, {"azure-account": "acme"}, ["azure-key"]),
    "gcs": ({"bucket": "pg"}, {"gcs-bucket": "pg", "gcs-key-type": "service"}, ["gcs-key"]),
    "gcs_of_the_instance": ({"bucket": "pg", "key_type": "auto"}, {"gcs-key-type": "auto"}, []),
    "s3_of_the_instance": (
        {"bucket": "pg", "endpoint": "e", "region": "r", "key_type": "auto"},
        {"s3-key-type": "auto"},
        [],
    ),
    "posix": ({"path": "/mnt/backups"}, {"path": "/mnt/backups"}, []),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_repository_of_any_type(name: str) -> None:
    given, options, keys = PLACES[name]
    brief = {"type": name.partition("_")[0], "path": "/pgha", "name": "x", "retention_days": 1}
    cluster = described(pgbackrest_repositories=[brief | given | {"full_schedule": "daily"}])
    secrets = replace(SECRETS, repositories={"x": {"key": "itsKey"}})
    found = backup_places.options(cluster, secrets)[2]
    assert found.items() >= options.items()
    assert [name for name in found if name.endswith("-key")] == keys
    files = backup_places.key_files(cluster, secrets)
    assert [file.content for file in files] == (["itsKey\n"] if name == "gcs" else [])


@by_platform
def test_a_database_host_archives_to_the_repository(platform: str) -> None:
    found = ini(text_of(platform, "node3", "/etc/pgbackrest.conf"))
    for number in (1, 2, 3):  # it reaches every one of them through the repository host
        assert found["global"][f"repo{number}-host"] == "10.0.0.41"
    assert not [key for key in found["global"] if key.startswith("repo4")]
    assert found["global"]["archive-async"] == "y"
    assert found["global"]["compress-type"] == "zst"
    assert found["pgha"]["pg1-path"] == "/data/pgdata"
    assert not [key for key in found["pgha"] if "host" in key]


# --- systemd ----------------------------------------------------------------------------------


def units() -> dict[str, dict[str, dict[str, str]]]:
    """Return every unit and drop-in by path, with its sections."""
    found = {}
    for _, path, text in texts():
        if path.startswith(UNITS):
            parser = ini(text, strict=False)  # systemd takes Environment= twice
            found[path] = {name: dict(parser[name]) for name in parser.sections()}
    return found


@pytest.mark.parametrize("kind", ["full", "diff"])
def test_a_missed_backup_is_made_up_for(kind: str) -> None:
    timer = units()[f"{UNITS}/pgbackrest-backup@{kind}.timer"]
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_a_backup_runs_as_postgres_and_fails_loudly() -> None:
    service = units()[f"{UNITS}/pgbackrest-backup@.service"]["Service"]
    assert (service["Type"], service["User"]) == ("oneshot", "postgres")
    assert service["ExecStart"] == (
        f"/usr/bin/flock {UNITS}/pgbackrest-backup@.service"
        " /usr/bin/pgbackrest --stanza=pgha --repo=1 --type=%i backup"
    )


@pytest.mark.parametrize("unit", ["etcd", "patroni"])
def test_a_member_never_gives_up(unit: str) -> None:
    found = units()[f"{UNITS}/{unit}.service.d/pgha.conf"]
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert found["Service"]["Restart"] == "always"


@pytest.mark.parametrize("kind", ["full", "diff"])
def test_systemd_takes_the_calendar(kind: str) -> None:
    when = units()[f"{UNITS}/pgbackrest-backup@{kind}.timer"]["Timer"]["OnCalendar"]
    assert re.fullmatch(r"(\w{3}(\.\.\w{3})? )?\d\d:\d\d", when)
    assert complaints("systemd-analyze", "calendar", when) == ""


@by_platform
def test_systemd_finds_no_fault_with_units_and_drop_ins(platform: str, tmp_path: Path) -> None:
    for (host, path), text in written(platform).items():
        if path.startswith(UNITS) and host in ("node1", "pgbackrest"):
            file = tmp_path / Path(path).relative_to(UNITS)
            file.parent.mkdir(exist_ok=True)
            for program in ("/usr/bin/pgbackrest", patroni.HANDED_OVER):  # not on this machine
                text = text.replace(program, "/bin/true")
            file.write_text(text)
    for unit in ("etcd", "patroni"):
        (tmp_path / f"{unit}.service").write_text("[Service]\nExecStart=/bin/true\n")
    names = ["etcd.service", "patroni.service", "pgbackrest-backup@full.timer"]
    found = complaints("systemd-analyze", "verify", *(str(tmp_path / name) for name in names))
    assert [line for line in found.splitlines() if str(tmp_path) in line or "pgha" in line] == []


# --- the rest ---------------------------------------------------------------------------------


@by_platform
@pytest.mark.parametrize("host", FIVE_HOSTS)
def test_the_firewall_policy_says_what_the_cluster_says(platform: str, host: str) -> None:
    text = text_of(platform, host, "/etc/firewalld/policies/pgha.xml")
    policy = ElementTree.fromstring(text.encode())  # noqa: S314  # our own text
    found = set()
    for rule in policy.findall("rule"):
        port, source = rule.find("port"), rule.find("source")
        assert port is not None
        assert rule.find("accept") is not None
        found.add((int(port.attrib["port"]), None if source is None else source.attrib["address"]))
    cluster = described()
    wanted = {(o.port, s) for o in cluster.openings(cluster.host(host)) for s in o.sources}
    assert found == wanted | {(22, None)}
    zones = [policy.find(f"{way}-zone") for way in ("ingress", "egress")]
    assert [zone is not None and zone.attrib["name"] for zone in zones] == ["ANY", "HOST"]


@pytest.mark.parametrize(("host", "database"), [("node1", True), ("haproxy", False)])
def test_the_kernel_is_tuned_for_the_hosts_role(host: str, database: bool) -> None:
    text = text_of("debian", host, "/etc/sysctl.d/90-pgha.conf")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9_.]+ = [0-9 ]+", line) for line in lines)
    assert ("vm.swappiness = 1" in lines) == database
    assert "net.ipv4.tcp_keepalive_time = 60" in lines


def test_pgdgs_packages_are_verified_with_its_key() -> None:
    text = text_of("debian", "node1", "/etc/apt/sources.list.d/pgdg.sources")
    found = yaml.safe_load(text)
    assert found["Types"] == "deb"
    assert found["Suites"] == "bookworm-pgdg"
    assert found["Signed-By"].startswith("/")
