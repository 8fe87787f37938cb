"""Every fact's command and parser: the cases are data, tests/facts/<module>.<Fact>/*.yaml.

Where a command needs nothing but a shell, it is run here too, and its own output parsed.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase, StringCommand
from pyinfra_testing.facts import make_fact_tests  # type: ignore[import-untyped]

from facts.component import Component, redacted
from facts.hosts import DataDirectory
from facts.restorable import ArchiveListing, RestorableBackups
from facts.restore import RestoreProgress
from facts.ssh import SshKeys
from recovery import Archive, Backup
from tests.clusters import SECRETS

FOLDER = Path(__file__).parent / "facts"

for _folder in sorted(FOLDER.iterdir()):
    globals()[f"Test{_folder.name}"] = make_fact_tests("facts", _folder.name, _folder)


def asked(fact: FactBase[Any], **arguments: Any) -> Any:
    """Return what a fact finds on this machine."""
    command = StringCommand(fact.command(**arguments)).get_raw_value()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return fact.process(done.stdout.splitlines())


def test_component_finds_what_is_there_and_leaves_out_what_is_not(tmp_path: Path) -> None:
    file, absent = tmp_path / "a file", tmp_path / "absent"
    file.write_text("content\n")
    file.chmod(0o640)
    os.utime(file, (1000, 1000))
    tmp_path.chmod(0o750)
    found = asked(Component(), paths=[str(tmp_path), str(file), str(absent)], units=[])["paths"]
    assert set(found) == {str(tmp_path), str(file)}
    assert (found[str(tmp_path)]["sum"], found[str(tmp_path)]["mode"]) == ("directory", "750")
    told = found[str(file)]
    assert (told["mode"], told["mtime"], told["lines"]) == ("640", 1000, [])
    assert told["sum"] == hashlib.sha256(b"content\n").hexdigest()


# Lines that a configuration file may hold, each with a secret.
SECRET_LINES = [
    f"      password: {SECRETS.app}",
    f'    "password": "{SECRETS.app}",',
    f"    password = '{SECRETS.app}'",
    f"repo1-cipher-pass={SECRETS.app}",
    f"PASSPHRASE: {SECRETS.app}",
    f"  replication_password: {SECRETS.app}",
    f"secret:{SECRETS.app}",
    f"repo2-s3-key={SECRETS.app}",
    f"repo2-s3-key-secret={SECRETS.app}",
    f"repo2-azure-key={SECRETS.app}",
    f"export ETCDCTL_PASSWORD={SECRETS.app}",
]


def test_component_shows_no_secret_and_the_rest_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "patroni.yml"
    plain = ["scope: pgha", "", "  path /etc", "unit of measure", "password_encryption: scram", "é"]
    file.write_text("\n".join([*plain, *SECRET_LINES]) + "\n")
    found = asked(Component(), paths=[str(file)], units=[], show=True)
    lines = found["paths"][str(file)]["lines"]
    assert lines[: len(plain)] == plain
    assert len(lines) == len(plain) + len(SECRET_LINES)
    assert SECRETS.app not in "\n".join(lines)


@pytest.mark.parametrize("line", SECRET_LINES)
def test_both_sides_of_a_diff_are_masked_alike(line: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(f"{line}\n")
    found = asked(Component(), paths=[str(file)], units=[], show=True)
    masked = redacted(line)
    assert found["paths"][str(file)]["lines"] == masked
    assert SECRETS.app not in "".join(masked)


KEY_FILES = {
    "pem": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\nafter\n",
    "json": '{\n"type": "x",\n"private_key": "-----BEGIN PRIVATE KEY-----\\nabc\\n"\n}\n',
    "cut_off": "before\n-----BEGIN PRIVATE KEY-----\nabc",
}


@pytest.mark.parametrize("name", KEY_FILES)
def test_no_line_of_a_private_key_is_shown(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(KEY_FILES[name])
    shown = asked(Component(), paths=[str(file)], units=[], show=True)["paths"][str(file)]["lines"]
    assert shown == redacted(KEY_FILES[name])
    assert "abc" not in "".join(shown)


def _nothing(data: Path) -> None:
    assert not data.exists()


def _cluster(data: Path) -> None:
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")


def _other(data: Path) -> None:
    data.mkdir()
    (data / ".hidden").touch()


@pytest.mark.parametrize(
    ("make", "holds", "version"),
    [(_nothing, "absent", ""), (Path.mkdir, "empty", ""), (_cluster, "cluster", "18"),
     (_other, "other", "")],
    ids=["absent", "empty", "cluster", "other"],
)  # fmt: skip
@pytest.mark.parametrize("managed", [True, False], ids=["ours", "not_ours"])
def test_data_directory_is_told_for_what_it_holds(
    make: Callable[[Path], None], holds: str, version: str, managed: bool, tmp_path: Path
) -> None:
    data, config = tmp_path / "deep" / "pgdata", tmp_path / "patroni.yml"
    if make is not _nothing:
        data.parent.mkdir()
    make(data)
    config.write_text(f"  data_dir: {data}{'' if managed else '2'}\n")
    room = asked(DataDirectory(), path=str(data), patroni_config=str(config))
    assert (room["data"], room["version"], room["managed"]) == (holds, version, managed)
    assert room["free_mib"] > 0


def test_ssh_keys_are_read_from_where_they_are(tmp_path: Path) -> None:
    assert asked(SshKeys(), home=str(tmp_path))["public_key"] == ""
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "id_ecdsa.pub").write_text("ecdsa-sha2-nistp384 AAAA postgres@node1\n")
    (ssh / "authorized_keys").write_text("ssh-rsa BBBB admin\nrestrict ssh-rsa CCCC pgha:node2\n")
    found = asked(SshKeys(), home=str(tmp_path))
    assert found["public_key"] == "ecdsa-sha2-nistp384 AAAA"
    assert found["authorized_keys"] == ["ssh-rsa BBBB admin", "restrict ssh-rsa CCCC pgha:node2"]
    assert found["known_hosts"] == []


def test_ssh_keys_survive_a_file_that_ends_without_a_newline(tmp_path: Path) -> None:
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "authorized_keys").write_text("ssh-rsa BBBB")
    (ssh / "known_hosts").write_text("10.0.0.9 ssh-rsa DDDD")
    found = asked(SshKeys(), home=str(tmp_path))
    assert found["authorized_keys"] == ["ssh-rsa BBBB"]
    assert found["known_hosts"] == ["10.0.0.9 ssh-rsa DDDD"]


def test_component_survives_a_file_that_ends_without_a_newline(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("first", "second")]
    for file in files:
        file.write_text("last line")
    found = asked(Component(), paths=[str(file) for file in files], units=[], show=True)["paths"]
    assert [found[str(file)]["lines"] for file in files] == [["last line"]] * 2


def test_restorable_backups_are_whole_ones_of_the_present_database() -> None:
    def backup(label: str, database: int, error: bool) -> dict[str, Any]:
        return {
            "label": label, "timestamp": {"start": 1, "stop": 2}, "info": {"size": 30},
            "archive": {"start": "000000030000000000000004", "stop": "000000030000000000000005"},
            "lsn": {"start": "0/4000028", "stop": "0/5000100"}, "database": {"id": database},
            "error": error,
        }  # fmt: skip

    info = [{"status": {"code": 0}, "db": [{"id": 1, "system-id": 76}, {"id": 2, "system-id": 77}],
             "backup": [backup("of the last major version", 1, False), backup("good", 2, False),
                        backup("with a broken page", 2, True)]}]  # fmt: skip
    found = RestorableBackups().process(["1700000000", json.dumps(info)])
    assert found == {
        "stanza": True, "system": "77", "now": 1700000000.0,
        "backups": [Backup("good", 2, 30, 3, 0x4000028, 0x5000100)],
    }  # fmt: skip


def test_backups_of_a_repository_that_cannot_be_read_are_unknown_and_not_none() -> None:
    told = {"name": "pgha", "db": [], "backup": []}
    states = {0: "ok", 1: "missing stanza path", 2: "no valid backups", 99: "other"}
    for code, message in states.items():
        info = [told | {"status": {"code": code, "message": message}}]
        found = RestorableBackups().process(["1700000000", json.dumps(info)])
        assert (found is None) == (code == 99)
        assert not found or found["stanza"] == (code in (0, 2))


def test_archive_listing_knows_segments_and_histories(tmp_path: Path) -> None:
    """pgBackRest is a stand-in here that lists and prints files."""
    archive = tmp_path / "archive/pgha"
    name, checksum = "000000010000000000000009", "0" * 40
    for path in ("17-1", "18-2/0000000100000000", "18-10/0000000100000000"):
        (archive / path).mkdir(parents=True)
    (archive / f"18-2/0000000100000000/00000001000000000000000A-{checksum}.zst").touch()
    (archive / f"18-10/0000000100000000/{name}-{checksum}.zst").touch()
    (archive / f"18-10/0000000100000000/{name}.partial-{checksum}.zst").touch()
    (archive / "18-10/00000002.history").write_text("1\t0/9000100\tno recovery target specified\n")
    command = StringCommand(ArchiveListing().command(stanza="pgha")).get_raw_value()
    fake = (
        f"cd {tmp_path}; runuser() {{ shift 8; case $1 in repo-get) cat $2;; *)"
        ' [ "$2" != --recurse ] || { (cd $3 && find . -type f | sed s,^./,,); return; };'
        " ls $2;; esac; };"
    )
    line = fake + command.removeprefix("cd / &&")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert ArchiveListing().process(done.stdout.splitlines()) == Archive(
        frozenset({name}), {2: "1\t0/9000100\tno recovery target specified\n"}
    )
    command = StringCommand(ArchiveListing().command("pgha", histories=False)).get_raw_value()
    line = fake + command.removeprefix("cd / &&")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert ArchiveListing().process(done.stdout.splitlines()) == Archive(frozenset({name}), {})


def test_restore_progress_reads_this_machine(tmp_path: Path) -> None:
    data, tools = tmp_path / "data", tmp_path / "bin"
    for path in ("data", "data.restore/data", "data.before-20260301T120000Z", "bin"):
        (tmp_path / path).mkdir(parents=True)
    (tools / "pg_controldata").write_text("#!/bin/sh\necho 'Database cluster state:  shut down'\n")
    (tools / "pg_controldata").chmod(0o755)
    (tmp_path / "data.restore/plan").write_text('{"target": "latest"}\n')
    (data / "pg_tblspc").mkdir()
    (data / "pg_tblspc/16400").touch()
    found = asked(RestoreProgress(), data_dir=str(data), bin_dir=str(tools))
    assert found["plan"] == {"target": "latest"}
    assert found["fixed"] == "tablespace"
    assert found["free_mib"] > 0
    assert {path.removeprefix(str(tmp_path)): one["state"] for path, one in
            found["directories"].items()} == dict.fromkeys(
        ["/data", "/data.restore/data", "/data.before-20260301T120000Z"], "shut down")  # fmt: skip
