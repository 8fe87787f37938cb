"""The whole deploy on five @fake hosts: which operations run where, in which order, and what is
refused before the first of them."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from credentials import NAMES
from tests.clusters import FIVE_HOSTS, OFFSITE, ROOT, SECRET_VALUES, SECRETS

ENVIRONMENT = {"PYINFRA_FAKE_DELAY": "0", "PYINFRA_FAKE_DELAY_JITTER": "0",
               "PYINFRA_PROGRESS": "off"}  # fmt: skip
EVERYTHING_SHOWN = ("-vvv", "--diff", "--debug")


@dataclass(frozen=True)
class Run:
    """What a run of pyinfra left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def operations(self) -> list[dict[str, Any]]:
        """The operations in the order they ran."""
        found: list[dict[str, Any]] = json.loads(self.stdout)["results"]["operations"]
        return found

    @property
    def names(self) -> list[str]:
        return [operation["name"] for operation in self.operations]

    def hosts(self, name: str) -> set[str]:
        """Return the hosts that took part in the operations of a name."""
        told = [operation for operation in self.operations if operation["name"] == name]
        return {host for operation in told for host in _hosts(operation)}


def _hosts(operation: dict[str, Any]) -> Iterator[str]:
    for outcome in ("success", "error", "no_change"):
        yield from (host.removeprefix("@fake/") for host in operation[outcome])


FAKE = "tests/inventories/fake.py"


def pyinfra(*arguments: str, situation: str = "") -> Run:
    """Run pyinfra as somebody types it."""
    done = subprocess.run(
        [sys.executable, "-m", "pyinfra", *arguments],
        cwd=ROOT, env=os.environ | ENVIRONMENT | {"PGHA_FAKE": situation},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr)


def deploy(*arguments: str, secrets: Path, situation: str = "") -> Run:
    """Run deploy.py on the fake hosts."""
    secret = f"secrets_file={secrets}"
    return pyinfra(FAKE, "deploy.py", *arguments, "--data", secret, situation=situation)


@pytest.fixture(scope="session")
def secrets_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A secrets file as it should be."""
    file = tmp_path_factory.mktemp("secrets") / "secrets.yml"
    file.write_text(yaml.safe_dump(vars(SECRETS)))
    file.chmod(0o600)
    return file


@cache
def _whole(secrets: Path) -> Run:
    return deploy("-y", "--json", secrets=secrets)


@pytest.fixture
def whole(secrets_file: Path) -> Run:
    """The first deploy of all hosts, which nothing stands in the way of."""
    return _whole(secrets_file)


def refused(run: Run) -> str:
    """Return what a refused run says; fails if it had begun, crashed, or gave no way out."""
    assert run.code != 0
    assert "Traceback" not in run.output
    assert "Starting operation" not in run.output
    assert "HINT: " in run.stderr
    return run.stderr


# --- order and hosts --------------------------------------------------------------------------


def test_phases_come_in_order(whole: Run) -> None:
    assert whole.code == 0, whole.stderr
    phases = [name.strip("= ") for name in whole.names if name.startswith("==")]
    assert phases == ["packages", "system", "firewall", "ssh_trust", "certificates",
                      "pgbackrest", "etcd", "patroni", "pgbackrest", "haproxy"]  # fmt: skip


ORDER = [
    ("Install packages", "Open ports to those who need them"),
    ("Make SSH keys", "Exchange SSH keys"),
    ("Exchange SSH keys", "Create the stanza and take the first backup"),
    ("Configure WAL archiving", "Configure and start Patroni"),
    ("Install packages", "Issue certificates"),
    ("Issue certificates", "Configure WAL archiving"),
    ("Issue certificates", "Start etcd where it is safe"),
    ("Let new passwords of etcd in", "Start etcd where it is safe"),
    ("Wait until etcd is healthy", "Let nobody in without a password"),
    ("Let nobody in without a password", "Configure and start Patroni"),
    ("Start etcd where it is safe", "Change etcd members in turn"),
    ("Wait until etcd is healthy", "Configure and start Patroni"),
    ("Wait until this member leads or streams", "Reconcile the live configuration"),
    ("Reconcile the live configuration", "Restart members that need it, one by one"),
    ("Wait until this member leads or streams", "Create the stanza and take the first backup"),
    ("Configure and start Patroni", "Configure and start HAProxy"),
]


@pytest.mark.parametrize(("first", "then"), ORDER)
def test_comes_before(first: str, then: str, whole: Run) -> None:
    last_of_first = len(whole.names) - 1 - whole.names[::-1].index(first)
    assert last_of_first < whole.names.index(then)


NODES = {"node1", "node2", "node3"}
WHERE: dict[str, set[str]] = {
    "Install packages": set(FIVE_HOSTS),
    "Open ports to those who need them": set(FIVE_HOSTS),
    "Compare pgBackRest versions": NODES,
    "Set kernel parameters": NODES | {"haproxy"},
    "Exchange SSH keys": NODES | {"pgbackrest"},
    "Issue certificates": set(FIVE_HOSTS),
    "Configure WAL archiving": NODES,
    "Configure the repository": {"pgbackrest"},
    "Let new passwords of etcd in": NODES,
    "Start etcd where it is safe": NODES,
    "Let nobody in without a password": {"node1"},
    "Configure and start Patroni": NODES,
    "Reconcile the live configuration": {"node1"},
    "Restart members that need it, one by one": {"node1"},
    "Create the stanza and take the first backup": {"pgbackrest"},
    "Configure and start HAProxy": {"haproxy"},
}


@pytest.mark.parametrize(("name", "hosts"), WHERE.items(), ids=WHERE)
def test_runs_where_it_belongs(name: str, hosts: set[str], whole: Run) -> None:
    assert whole.hosts(name) == hosts


def test_etcd_members_change_one_at_a_time(whole: Run) -> None:
    turns = [o for o in whole.operations if o["name"] == "Change etcd members in turn"]
    assert [list(_hosts(turn)) for turn in turns] == [["node1"], ["node2"], ["node3"]]


# --- runs of part of it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "hosts"),
    [("haproxy", {"haproxy"}), ("@fake/node[23]", {"node2", "node3"})],
    ids=["group", "pattern"],
)
def test_limit_runs_on_those_hosts_only(limit: str, hosts: set[str], secrets_file: Path) -> None:
    run = deploy("-y", "--json", "--limit", limit, secrets=secrets_file)
    assert run.code == 0, run.stderr
    assert {host for operation in run.operations for host in _hosts(operation)} == hosts
    once = hosts & {"node2"}  # what one node does for all, the first of this run does
    assert run.hosts("Reconcile the live configuration") == once


@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "haproxy", "--limit", "node1"),  # its full name is @fake/node1
        ("--limit", "all"),
        ("--limit", "postgr*"),  # a pattern is for names of hosts, not of groups
        ("--exclude", "nosuch"),
    ],
    ids=" ".join,
)
def test_limit_without_match_is_an_error(arguments: Sequence[str], secrets_file: Path) -> None:
    run = deploy("-y", *arguments, secrets=secrets_file)
    assert f"{arguments[-2]} {arguments[-1]} matches no host" in run.stderr
    assert run.code != 0
    assert "Traceback" not in run.output
    assert "Starting operation" not in run.output
    assert run.stderr.partition("HINT: there are ")[2].split("\n")[0] == (
        "@fake/node1, @fake/node2, @fake/node3, @fake/haproxy, @fake/pgbackrest, "
        "etcd, postgres, haproxy, pgbackrest."
    )


NOBODY = {
    "misspelt_inventory": ("nosuch.py", "deploy.py", "-y"),
    "inventory_in_no_folder": ("nosuch/inventory.py", "verify.py", "-y"),
    "limit_that_is_excluded": (FAKE, "deploy.py", "-y", "--limit", "etcd", "--exclude", "postgres"),
}


@pytest.mark.parametrize("arguments", NOBODY.values(), ids=NOBODY)
def test_refuses_a_run_that_no_host_takes_part_in(arguments: Sequence[str]) -> None:
    run = pyinfra(*arguments)
    assert "no host takes part in this run" in refused(run)
    says = "--exclude takes" if arguments[0] == FAKE else f"there is no {arguments[0]}: give the"
    assert says in run.stderr.partition("HINT: ")[2]


def test_an_inventory_that_is_no_python_is_pyinfras_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "inventory.py").write_text("etcd = [(")
    run = pyinfra(str(tmp_path / "inventory.py"), "deploy.py", "-y")
    assert run.code != 0
    assert "SyntaxError" in run.stderr
    assert "Context not set" not in run.stderr


OF_PYINFRA = {
    "debug-inventory": ("inventory.py", "debug-inventory"),
    "exec": (FAKE, "-y", "exec", "--", "true"),
    "fact": (FAKE, "fact", "server.Hostname"),
}


@pytest.mark.parametrize("arguments", OF_PYINFRA.values(), ids=OF_PYINFRA)
def test_what_pyinfra_does_by_itself_still_works(arguments: Sequence[str]) -> None:
    run = pyinfra(*arguments)
    assert run.code == 0, run.stderr
    assert "node1]" in run.output


def test_chosen_phases_are_all_that_runs(secrets_file: Path) -> None:
    run = deploy("-y", "--json", "--data", "phases=etcd, haproxy", secrets=secrets_file)
    assert run.code == 0, run.stderr
    assert [name for name in run.names if name.startswith("==")] == ["== etcd ==", "== haproxy =="]
    components = {"etcd", "HAProxy", "Patroni", "packages", "SSH", "stanza", "ports", "kernel"}
    seen = {word for name in run.names for word in name.split()} & components
    assert seen == {"etcd", "HAProxy"}


@pytest.mark.parametrize(
    ("phases", "says"),
    [
        ("etdc", "did you mean etcd?"),
        ("etcd,nothing", "phases are packages, system"),
    ],
    ids=["misspelt", "one_unknown"],
)
def test_refuses_a_phase_that_there_is_not(phases: str, says: str, secrets_file: Path) -> None:
    run = deploy("-y", "--data", f"phases={phases}", secrets=secrets_file)
    assert says in refused(run)


def test_refuses_phases_that_no_host_of_the_limit_takes_part_in(secrets_file: Path) -> None:
    run = deploy("-y", "--limit", "haproxy", "--data", "phases=etcd", secrets=secrets_file)
    assert "no host of this run takes part in etcd" in refused(run)


# --- refused before any host is touched -------------------------------------------------------

BAD_DATA = {
    "patroni_retry_timeout=9": "patroni_loop_wait + 2*patroni_retry_timeout is 21 s",
    "patroni_tll=30": "did you mean patroni_ttl?",
}


@pytest.mark.parametrize(("data", "says"), BAD_DATA.items(), ids=BAD_DATA)
def test_refuses_bad_settings(data: str, says: str, tmp_path: Path) -> None:
    run = deploy("-y", "--data", data, secrets=tmp_path / "secrets.yml")
    assert says in refused(run)
    assert not (tmp_path / "secrets.yml").exists()


SITUATIONS = {
    "unsupported_os": ["node2 runs slackware", "Debian or Ubuntu"],
    "another_os": [
        "runs Debian or Ubuntu bookworm",
        "node2 runs Enterprise Linux 8",
        "give all hosts the same release",
    ],
    "another_release": ["pgbackrest runs Debian or Ubuntu trixie", "collations", "corrupt"],
    "no_sudo": ["@fake/pgbackrest: no sudo without a password", "NOPASSWD"],
    "misspelt_address": [
        "10.0.0.12 is not an address of @fake/node2, which has 10.0.0.22\n",
        "put the right one in the inventory",
    ],
    "foreign_data": ["/data/pgdata on @fake/node3 holds a PostgreSQL 15 cluster", "adopt it"],
    "foreign_files": ["/data/pgdata on @fake/node3 holds a set of other files", "Move it away"],
    "restoring": ["@fake/node3 is in the middle of a restore", "give it up"],
    "small_disk": ["@fake/node1 has 100 MiB free", "larger disk"],
    "managed": ["@fake/node1 belongs to a running cluster", "bring the file back"],
}


@pytest.mark.parametrize(("situation", "says"), SITUATIONS.items(), ids=SITUATIONS)
def test_refuses_a_host_that_cannot_take_it(
    situation: str, says: Sequence[str], tmp_path: Path
) -> None:
    run = deploy("-y", secrets=tmp_path / "secrets.yml", situation=situation)
    text = refused(run)
    assert [part for part in says if part not in text] == []
    assert not (tmp_path / "secrets.yml").exists()


LIVING = {
    "renamed": ["@fake/node1 belongs to the cluster shop, not to pgha", "set cluster_name back"],
    "upgraded": ["@fake/node1 holds PostgreSQL 17, postgresql_version is 18", "version back"],
}


@pytest.mark.parametrize(("situation", "says"), LIVING.items(), ids=LIVING)
def test_refuses_to_change_what_a_living_cluster_keeps(
    situation: str, says: Sequence[str], secrets_file: Path
) -> None:
    text = refused(deploy("-y", secrets=secrets_file, situation=situation))
    assert [part for part in says if part not in text] == []


@pytest.mark.parametrize("limit", ["haproxy", "pgbackrest", "@fake/node3", "@fake/*"])
def test_makes_no_secrets_up_for_a_living_cluster(limit: str, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.yml"
    text = refused(deploy("-y", "--limit", limit, secrets=secrets, situation="secrets_lost"))
    assert "@fake/haproxy belongs to a cluster (it has /etc/pgha/ca.crt)" in text
    assert '"The secrets file is lost"' in text
    assert not secrets.exists()


HALVES = {
    "a_host_left_out": (("--exclude", "@fake/node3"), "leaves out @fake/node3\n"),
    "a_phase_left_out": (
        ("--data", "phases=firewall,certificates,pgbackrest"),
        "leaves out the phase ssh_trust\n",
    ),
}


@pytest.mark.parametrize(("options", "says"), HALVES.values(), ids=HALVES)
def test_refuses_half_a_change_of_the_transport(
    options: Sequence[str], says: str, secrets_file: Path
) -> None:
    run = deploy("-y", *options, secrets=secrets_file, situation="over_tls")
    assert f"is ssh, but @fake/node1 uses the other one, and this run {says}" in refused(run)


def test_a_host_without_a_transport_may_be_deployed_alone(secrets_file: Path) -> None:
    run = deploy("-y", "--json", "--limit", "@fake/node2", secrets=secrets_file)
    assert run.code == 0, run.stderr


def test_first_failure_stops_the_run(secrets_file: Path) -> None:
    run = deploy("-y", "--json", secrets=secrets_file, situation="refused_by_haproxy")
    assert run.code != 0
    assert "Traceback" not in run.output
    assert "Starting operation: Configure and start HAProxy" in run.stderr
    assert "Starting operation: Show the cluster" not in run.stderr


# --- looked at only ---------------------------------------------------------------------------

UNFIT = {
    "first_no_sudo": "@fake/node1: no sudo without a password",
    "unsupported_os": "@fake/node2 runs slackware",
    "misspelt_address": "10.0.0.12 is not an address of @fake/node2",
}


@pytest.mark.parametrize(("situation", "says"), UNFIT.items(), ids=UNFIT)
def test_proofs_go_on_without_an_unfit_host(situation: str, says: str, secrets_file: Path) -> None:
    run = pyinfra(
        FAKE, "verify.py", "-y", "--data", "verify_format=json",
        "--data", f"secrets_file={secrets_file}", situation=situation,
    )  # fmt: skip
    assert run.code != 0
    assert "Traceback" not in run.output
    proofs = {proof["name"]: proof for proof in json.loads(run.stdout)["proofs"]}
    assert proofs["hosts"]["status"] == "failed"
    assert proofs["hosts"]["evidence"].startswith(says)
    assert proofs["patroni"]["status"] == "ok"


def test_proofs_of_unfit_hosts_alone_end_with_the_reason(secrets_file: Path) -> None:
    run = pyinfra(FAKE, "verify.py", "-y", "--limit", "@fake/node1",
                  "--data", f"secrets_file={secrets_file}", situation="first_no_sudo")  # fmt: skip
    assert UNFIT["first_no_sudo"] in refused(run)


def test_status_goes_on_without_an_unfit_host() -> None:
    run = pyinfra(FAKE, "day2/status.py", "-y", situation="first_no_sudo")
    assert run.code != 0
    assert UNFIT["first_no_sudo"] in run.stderr
    assert "Traceback" not in run.output
    assert "Cluster pgha" in run.stdout
    assert re.search(r"node3 .* quorum standby +streaming", run.stdout)


# --- secrets ----------------------------------------------------------------------------------


def values_in(secrets: Path) -> list[str]:
    found = yaml.safe_load(secrets.read_text())
    keys = [key for one in found.pop("repositories", {}).values() for key in one.values()]
    return [*map(str, found.values()), *keys]


@pytest.mark.parametrize("mode", [("-y",), ("--dry",)], ids=["deployed", "dry"])
def test_no_output_shows_a_secret(mode: Sequence[str], secrets_file: Path) -> None:
    run = deploy(*mode, *EVERYTHING_SHOWN, secrets=secrets_file)
    assert run.code == 0, run.stderr
    assert "password: *MASKED*" in run.output  # the file that holds them was shown
    assert [value for value in values_in(secrets_file) if value in run.output] == []


def test_first_run_makes_strong_secrets_and_shows_none(tmp_path: Path) -> None:
    file = tmp_path / "new" / "secrets.yml"
    run = deploy("-y", *EVERYTHING_SHOWN, secrets=file)
    assert run.code == 0, run.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = values_in(file)
    assert len(set(values)) == len(NAMES)
    assert min(map(len, values)) >= 32
    assert [value for value in values if value in run.output] == []
    assert [path.name for path in file.parent.iterdir()] == ["secrets.yml"]


def test_dry_run_makes_no_secrets_file(tmp_path: Path) -> None:
    run = deploy("--dry", secrets=tmp_path / "secrets.yml")
    assert run.code == 0, run.stderr
    assert list(tmp_path.iterdir()) == []


BAD_FILES = {
    "readable_by_others": (vars(SECRETS), 0o644, "can be read by others"),
    "placeholder": (vars(SECRETS) | {"app": "changeme"}, 0o600, "the secret app is missing or"),
    "not_a_mapping": (["f4KeZz"], 0o600, "is not a YAML mapping"),
}


def test_refuses_an_empty_cluster_beside_backups_of_one(secrets_file: Path) -> None:
    text = refused(deploy("-y", secrets=secrets_file, situation="backups_are_left"))
    assert "no database host has data, and @fake/pgbackrest has backups of pgha" in text
    assert "--data bootstrap=empty" in text
    told = ("--data", "bootstrap=empty")
    assert deploy("-y", *told, secrets=secrets_file, situation="backups_are_left").code == 0


def test_refuses_a_repository_without_its_keys_before_any_host_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yml"
    file.write_text(yaml.safe_dump(vars(SECRETS) | {"repositories": {"offsite": {"key": "x"}}}))
    file.chmod(0o600)
    repositories = f"pgbackrest_repositories={json.dumps([OFFSITE])}"
    text = refused(deploy("-y", "--data", repositories, secrets=file))
    assert "the secret key_secret of the repository offsite is missing" in text


def test_refuses_a_secrets_file_that_is_a_directory(tmp_path: Path) -> None:
    assert f"{tmp_path} cannot be read: Is a directory" in refused(deploy("-y", secrets=tmp_path))


def test_refuses_a_secrets_file_that_cannot_be(tmp_path: Path) -> None:
    text = refused(deploy("-y", secrets=tmp_path / ("x" * 300)))
    assert "cannot tell whether there is a" in text


@pytest.mark.parametrize(("content", "mode", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_refuses_a_secrets_file(content: Any, mode: int, says: str, tmp_path: Path) -> None:
    file = tmp_path / "secrets.yml"
    file.write_text(yaml.safe_dump(content))
    file.chmod(mode)
    text = refused(deploy("-y", secrets=file))
    assert says in text
    assert "f4KeZz" not in text
    assert [value for value in SECRET_VALUES.values() if value in text] == []
