"""Five hosts that run nothing: pyinfra's @fake connector answers what the facts ask.

They are bare Debian hosts, but for what a run would wait for: etcd is healthy, Patroni leads and
streams with the settings' own live configuration, and there are SSH keys, and keys for certificates
that are not yet there. The environment variable
PGHA_FAKE says what is wrong with one of them.
"""

import json as _json
import os as _os
import re as _re

from tests.clusters import ADDRESSES as _ADDRESSES
from tests.clusters import FIVE_HOSTS as _FIVE_HOSTS
from tests.clusters import REQUEST as _REQUEST
from tests.clusters import described as _described

_cluster = _described()
_live = _cluster.dynamic_configuration() | {"pgha_applied": _cluster.dynamic_configuration()}
_os_release = (
    "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\npgha_container=docker\npgha_ssh_port=22"
)
_health = [
    {"endpoint": _cluster.etcd_client_url(member), "health": True}
    for member in _cluster.etcd_members
]
_primary = {"role": "primary", "state": "running", "timeline": 1}
_replica = _primary | {
    "role": "replica", "replication_state": "streaming", "quorum_standby": True,
}  # fmt: skip
_patroni = {"@fake/node1": _replica, "@fake/node2": _primary, "@fake/node3": _replica}
_members = [
    {"name": name, "role": "leader", "state": "running", "lag": 0}
    if told is _primary
    else {"name": name, "role": "quorum_standby", "state": "streaming", "lag": 0}
    for name, told in _patroni.items()
]
_queue = {"is_primary": True, "bytes": 0, "seconds": 0, "failing": None, "command": "pgbackrest"}
_psql = {
    "in_recovery": False,
    "role": False,
    "database": False,
    "scram": None,
    "sha256": None,
    "roles": {},
    "source": None,
    "open_to": [],
}


def _data(holds="absent", version="", free=9000, managed="", scope="", restoring=""):
    found = f"data={holds}\nversion={version}\nfree={free}\nmanaged={managed}\nscope={scope}"
    return f"{found}\nrestoring={restoring}"


def _progress(free=9000, fixed="", plan="", system=7):
    return [
        f"plan {plan}", "mark ", "patroni active", f"free {free}", f"fixed {fixed}",
        "dir /data/pgdata", f"Database system identifier: {system}",
        "Database cluster state: in production",
        "Latest checkpoint location: 0/9000028", "Latest checkpoint's TimeLineID: 1", "end",
    ]  # fmt: skip


# Of noon on 2026-03-01, with a full backup of one o'clock in the morning.
_noon, _backup = 1772366400, {
    "label": "20260301-010000F", "timestamp": {"start": 1772326800, "stop": 1772326860},
    "info": {"size": 100 << 20}, "database": {"id": 1}, "error": False,
    "archive": {"start": f"{1:08X}{0:08X}{2:08X}", "stop": f"{1:08X}{0:08X}{2:08X}"},
    "lsn": {"start": "0/2000028", "stop": "0/2000100"},
}  # fmt: skip
_far = _backup | {"tablespace": [{"name": "far", "destination": "/srv/far"}]}
_stanza = {
    "db": [{"id": 1, "system-id": 7}], "backup": [_backup], "status": {"code": 0, "message": "ok"},
}  # fmt: skip
_restorable = [str(_noon), _json.dumps([_stanza])]
_archive = [f"{1:08X}{0:08X}{number:08X}" for number in range(1, 10)]

# What is wrong, on which host: the fact's command has the first, and its answer is the second.
_SITUATIONS = {
    "": ("", "", ""),
    "unsupported_os": ("node2", "os-release", "ID=slackware\npgha_sudo=yes"),
    "another_os": (
        "node2",
        "os-release",
        'ID=rocky\nID_LIKE="rhel centos fedora"\nVERSION_ID="8.10"\npgha_sudo=yes',
    ),
    "another_release": (
        "pgbackrest",
        "os-release",
        "ID=debian\nVERSION_ID=13\nVERSION_CODENAME=trixie\npgha_sudo=yes",
    ),
    "no_sudo": ("pgbackrest", "os-release", _os_release),
    "first_no_sudo": ("node1", "os-release", _os_release),
    "misspelt_address": (
        "node2",
        "os-release",
        f"{_os_release}\npgha_sudo=yes\npgha_addresses=127.0.0.1,10.0.0.22,",
    ),
    "foreign_data": ("node3", "PG_VERSION", _data("cluster", version="15", managed="0")),
    "foreign_files": ("node3", "PG_VERSION", _data("other")),
    "small_disk": ("node1", "PG_VERSION", _data(free=100)),
    "managed": ("node1", "PG_VERSION", _data("cluster", version="18", managed="1", scope="pgha")),
    "renamed": ("node1", "PG_VERSION", _data("cluster", version="18", managed="1", scope="shop")),
    "upgraded": ("node1", "PG_VERSION", _data("cluster", version="17", managed="1", scope="pgha")),
    "restoring": (
        "node3",
        "PG_VERSION",
        _data("cluster", version="18", managed="1", scope="pgha", restoring="plan"),
    ),
    "paused": ("node2", "/config", _json.dumps({"pause": True})),
    "backups_are_left": (
        "pgbackrest",
        "--output=json",
        _json.dumps(
            [
                {
                    "db": [{"id": 1, "version": "18"}],
                    "backup": [_backup | {"type": "full"}],
                    "status": {"code": 0, "message": "ok"},
                }
            ]
        ),
    ),
    "main_is_silent": ("pgbackrest", "ask --output=json info", [str(_noon), "null"]),
    "main_is_empty": ("pgbackrest", "ask --output=json info", [str(_noon), "[]"]),
    "closed_source": ("node1", "ask --output=json info", [str(_noon), "null"]),
    "tablespaces": (
        "pgbackrest",
        '--set="$label"',
        _json.dumps([{"backup": [_far]}]),
    ),
    "no_etcdctl": ("node1", "endpoint health", "[]"),
    "no_quorum": (
        "every host",
        "endpoint health",
        _json.dumps([one | {"health": False} for one in _health]),
    ),
    "another_database": ("node3", "mountpoint", _progress(system=8)),
    "no_room": ("node3", "mountpoint", _progress(free=300)),
    "mounted": ("node3", "mountpoint", _progress(fixed="mount")),
    "another_restore": (
        "node3",
        "mountpoint",
        _progress(
            plan='{"target": "latest", "stamp": "20260301T110000Z", "host": "@fake/node1",'
            ' "source": "x", "backups": ["20260301-010000F"], "timeline": 1, "highest": 1}'
        ),
    ),
    "secrets_lost": (
        "haproxy",
        "if [ -e /etc/pgha/ca.crt ]",
        "-----BEGIN CERTIFICATE-----\nend",
    ),
    "over_tls": (
        "node1",
        "/etc/ssh/ssh_config.d/10-pgha.conf /etc/systemd/system/pgbackrest-server.service 2",
        "path 81a4 root root 1 /etc/systemd/system/pgbackrest-server.service\nend",
    ),
    "refused_by_haproxy": ("haproxy", "haproxy -c", {"success": False, "stderr": "no"}),
}


def _answers(name):
    unlucky, asked, answer = _SITUATIONS[_os.environ.get("PGHA_FAKE", "")]
    wrong = {asked: answer} if unlucky in (name, "every host") else {}
    usual = {
        "os-release": f"{_os_release}\npgha_sudo=yes\npgha_addresses=127.0.0.1,{_ADDRESSES[name]},",
        "PG_VERSION": _data(),
        "if [ -e /etc/pgha/ca.crt ]": "end",
        _re.compile("for unit in *;"): "end",
        **{
            f"for unit in {' '.join(units)};": "\n".join([*map(_stopped, units), "end"])
            for units in (
                ["firewalld.service"],
                ["etcd.service"],
                ["patroni.service"],
                ["haproxy.service"],
                ["pgbouncer.service"],
                ["pgbackrest-backup@full.timer", "pgbackrest-backup@diff.timer"],
                [f"pgha-proof@{job}.timer" for job in ("check", "verify", "rehearsal")],
            )
        },
        "dpkg-query": "",
        "/etc/ssh/ssh_host_": f"id_ed25519.pub ssh-ed25519 K{name}\n"
        f"/etc/ssh/ssh_host_ed25519_key.pub ssh-ed25519 H{name}\nend",
        "member list": "null",
        **_identities(name),
        "tell file": ["of file none", "of 5432 none", "of 6432 none", "of 8008 none", "end"],
        "ask get": ["root root", "patroni-0badf00d patroni"],
        "IDENTIFY_SYSTEM": "yes",
        "for turn in": ["ask", "answer|10.0.0.12|5432|f", "written|0/0", "end"],
        "user list 2>&1": "open",
        "user list 2>/dev/null": ["root", "patroni-0badf00d", "end"],
        "endpoint health": _json.dumps(_health),
        "for pair in": [f"{member} {_json.dumps(told)}" for member, told in _patroni.items()],
        '"$url/cluster"': [
            f"{_cluster.rest_url(member)} {_json.dumps({'members': _members})}"
            for member in _cluster.postgres_members
        ],
        "/cluster": _json.dumps({"members": _members}),
        "patroni.dynamic.json": [
            _json.dumps(line) for line in (_live, {}, 1.0, 1.0, 1.0, {"loaded": 2, "waiting": []})
        ],
        "/config": _json.dumps(_live),
        "pg_ls_archive_statusdir": _json.dumps(_queue),
        "json_build_object": _json.dumps(_psql),
        "mountpoint": _progress(),
        "ask --output=json info": _restorable,
        '--set="$label"': _json.dumps([{"backup": [_backup | {"tablespace": None}]}]),
        "repo-ls --recurse": [*_archive, "end"],
        "--output=json": "[]",
    }
    return wrong | {asked: answer for asked, answer in usual.items() if asked not in wrong}


def _identities(name):
    """Answers of each identity, of the key that is made beside it, and of all at once."""
    told = {
        one.directory: f"identity {one.directory}\naccess 600 {one.owner}\n{_REQUEST.strip()}"
        for one in _cluster.identities(_cluster.host(name))
    }
    told |= {
        f"{directory}/next": f"identity {directory}/next\naccess 600 x\n{_REQUEST.strip()}"
        for directory in list(told)
    }
    present = [directory for directory in told if not directory.endswith("/next")]
    return {
        f"for dir in {' '.join(asked)};": "\n".join([*map(told.get, asked), "end"])
        for asked in [*([each] for each in told), present]
    }


def _stopped(unit):
    return (
        f"unit {unit} LoadState=loaded ActiveState=inactive UnitFileState=disabled MainPID=0 ages"
    )


def _group(group):
    return [
        (f"@fake/{name}", {"address": _ADDRESSES[name], "fake_responses": _answers(name)})
        for name, groups in _FIVE_HOSTS.items()
        if group in groups
    ]


etcd = _group("etcd")
postgres = _group("postgres")
haproxy = _group("haproxy")
pgbackrest = _group("pgbackrest")
