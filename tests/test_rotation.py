"""rotate_passwords.py and show_secrets.py on five @fake hosts; killed anywhere, all ends well."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from credentials import PASSWORDS, document, read
from tests.clusters import SECRET_VALUES, SECRETS
from tests.test_deploy import EVERYTHING_SHOWN, FAKE, Run, pyinfra, refused, values_in


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    """A secrets file that a run may change."""
    file = tmp_path / "secrets.yml"
    file.write_text(document(SECRETS))
    file.chmod(0o600)
    return file


def rotate(*arguments: str, secrets: Path, situation: str = "") -> Run:
    return pyinfra(
        FAKE, "day2/rotate_passwords.py", "-y", "--data", f"secrets_file={secrets}", *arguments,
        situation=situation,
    )  # fmt: skip


# --- what it changes --------------------------------------------------------------------------


def test_changes_every_password_and_shows_none(secrets_file: Path) -> None:
    run = rotate(*EVERYTHING_SHOWN, secrets=secrets_file)
    assert run.code == 0, run.stderr
    new = read(secrets_file)
    assert {n for n in vars(new) if vars(new)[n] != vars(SECRETS)[n]} == set(PASSWORDS)
    shown = {*values_in(secrets_file), *SECRET_VALUES.values()}
    assert [value for value in shown - {SECRETS.authority_certificate} if value in run.output] == []
    assert "whatever stops this run" in run.output


def test_changes_only_what_is_named(secrets_file: Path) -> None:
    assert rotate("--data", "secrets=app", secrets=secrets_file).code == 0
    new = read(secrets_file)
    assert [n for n in vars(new) if vars(new)[n] != vars(SECRETS)[n]] == ["app"]


def test_refuses_what_cannot_be_rotated(secrets_file: Path) -> None:
    run = rotate("--data", "secrets=backup_cipher", secrets=secrets_file)
    assert "pgBackRest cannot change" in refused(run)
    assert read(secrets_file) == SECRETS


@pytest.mark.parametrize("limit", ["@fake/haproxy", "@fake/pgbackrest"])
def test_refuses_where_nobody_would_learn_them(limit: str, secrets_file: Path) -> None:
    text = refused(rotate("--limit", limit, secrets=secrets_file))
    assert "no host of the group postgres is part of this run" in text
    assert read(secrets_file) == SECRETS


def test_refuses_without_a_file(tmp_path: Path) -> None:
    assert "there is no " in refused(rotate(secrets=tmp_path / "none.yml"))
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_keeps_nothing(secrets_file: Path) -> None:
    run = pyinfra(FAKE, "day2/rotate_passwords.py", "--dry",
                  "--data", f"secrets_file={secrets_file}")  # fmt: skip
    assert run.code == 0, run.stderr
    assert read(secrets_file) == SECRETS


def test_takes_over_what_a_command_prints(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHA_SECRETS_COMMAND", f"cat {secrets_file}")
    run = rotate("--json", secrets=secrets_file)
    assert run.code == 0, run.stderr
    assert "Let Patroni reload" in run.names
    assert not [name for name in run.names if name.startswith("Keep")]
    assert read(secrets_file) == SECRETS
    assert "run this without secrets=" in refused(
        rotate("--data", "secrets=app", secrets=secrets_file)
    )


# --- killed anywhere --------------------------------------------------------------------------

HOSTS = ("node1", "node2", "node3")


@dataclass
class World:
    """Which generation of passwords is where; `file` is the secrets file's."""

    file: int = 1
    users: set[int] = field(default_factory=lambda: {1})
    clients: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HOSTS, 1))
    roles: int = 1
    members: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HOSTS, 1))
    app: int = 1

    def holds(self) -> None:
        """Fail unless everybody comes into etcd, and no role is older than who uses it."""
        assert set(self.clients.values()) <= self.users
        assert set(self.members.values()) <= self.users
        assert max(self.members.values()) <= self.roles <= self.file

    def agrees(self) -> None:
        """Fail unless the file and every host say the same, and nothing of old is left."""
        everywhere = {self.roles, self.app, *self.clients.values(), *self.members.values()}
        assert everywhere == self.users == {self.file}


def keep_new(world: World) -> None:
    world.file += 1


def let_in(host: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        if world.clients[host] != world.file:
            assert world.clients[host] in world.users  # who adds another must come in
            world.users.add(world.file)

    return change


def on(host: str, what: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        getattr(world, what)[host] = world.file

    return change


def set_roles(world: World) -> None:
    world.roles = world.file


def set_app(world: World) -> None:
    world.app = world.file


def forget(world: World) -> None:
    world.users = {world.file}


# What the operations do that change anything, each a row of steps between which a run may end.
EFFECTS: dict[str, Sequence[Callable[[World], None]]] = {
    "Keep the new passwords in the secrets file": [keep_new],
    "Let new passwords of etcd in": [
        step for host in HOSTS for step in (let_in(host), on(host, "clients"))
    ],
    "Give PostgreSQL's own roles their passwords": [set_roles],
    "Let Patroni reload": [on(host, "members") for host in HOSTS],
    "Configure and start Patroni": [on(host, "members") for host in HOSTS],
    "Give the application's role its password": [set_app],
    "Make the application's role and database": [set_app],
    "Forget old passwords of etcd": [forget],
}


def steps(run: Run) -> list[Callable[[World], None]]:
    """Return what a run changes, in the order of its operations."""
    assert run.code == 0, run.stderr
    return [step for name in run.names for step in EFFECTS.get(name, [])]


def test_killed_anywhere_the_next_run_ends_with_all_agreed(secrets_file: Path) -> None:
    again = steps(rotate("--json", secrets=secrets_file))
    data = ("--data", f"secrets_file={secrets_file}")
    deploying = steps(pyinfra(FAKE, "deploy.py", "-y", "--json", *data))
    assert len(again) == 13
    for following in (again, deploying):
        for first in range(len(again) + 1):
            for second in range(len(following) + 1):  # and the run that mends it may be killed, too
                world = World()
                for step in (*again[:first], *following[:second], *deploying):
                    step(world)
                    world.holds()
                world.agrees()


# --- show_secrets -----------------------------------------------------------------------------


def test_shows_secrets_on_stdout_and_nothing_else(secrets_file: Path) -> None:
    show = ("@local", "day2/show_secrets.py", "-y", "--data", f"secrets_file={secrets_file}")
    run = pyinfra(*show)
    assert (run.code, run.stdout) == (0, document(SECRETS))
    assert "showing secrets on stdout" in run.stderr
    assert not [value for value in values_in(secrets_file) if value in run.stderr]
    assert pyinfra(*show, "--data", "secret=app").stdout == f"{SECRETS.app}\n"
    assert "there is no secret 'apps'" in refused(pyinfra(*show, "--data", "secret=apps"))


def test_shows_once_for_all_hosts(secrets_file: Path) -> None:
    run = pyinfra(FAKE, "day2/show_secrets.py", "-y", "--data", f"secrets_file={secrets_file}",
                  "--data", "secret=rewind")  # fmt: skip
    assert run.stdout == f"{SECRETS.rewind}\n"


def test_shows_nothing_that_is_not_there(tmp_path: Path) -> None:
    run = pyinfra("@local", "day2/show_secrets.py", "-y", "--data", f"secrets_file={tmp_path}/no")
    assert re.search("there is no .*/no\n", refused(run))
    assert list(tmp_path.iterdir()) == []
