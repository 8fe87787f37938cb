"""Where secrets come from: which source goes first, and a command that prints them."""

import shlex
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

import secret_sources
from credentials import document
from secret_sources import Source, read, source
from setting_types import SettingsError
from tests.clusters import SECRETS
from tests.refusals import in_form

# situation: (environment, settings, command, file)
FIRST = {
    "nothing": ({}, {}, "", "secrets.yml"),
    "empty": ({"PGHA_SECRETS_FILE": ""}, {"secrets_command": " "}, "", "secrets.yml"),
    "settings_file": ({}, {"secrets_file": "/x/s.yml"}, "", "/x/s.yml"),
    "settings_command": ({}, {"secrets_command": "pass a", "secrets_file": "x"}, "pass a", "."),
    "environments_file": (
        {"PGHA_SECRETS_FILE": "/e.yml"},
        {"secrets_command": "pass a", "secrets_file": "x"},
        "",
        "/e.yml",
    ),
    "environments_command": (
        {"PGHA_SECRETS_COMMAND": "pass e", "PGHA_SECRETS_FILE": "/e.yml"},
        {"secrets_command": "pass a"},
        "pass e",
        ".",
    ),
    "inside_of_here": ({}, {"secrets_file": str(Path.cwd() / "a" / "s.yml")}, "", "a/s.yml"),
}


@pytest.mark.parametrize(("environment", "data", "command", "file"), FIRST.values(), ids=FIRST)
def test_goes_first(
    environment: dict[str, str], data: dict[str, str], command: str, file: str
) -> None:
    assert source(environment, data) == Source(command, Path(file))


def test_refuses_a_command_that_is_no_text() -> None:
    with pytest.raises(SettingsError, match="secrets_command is not text"):
        source({}, {"secrets_command": ["sops", "-d"]})


def says(script: str) -> str:
    """Return a command that runs a line of Python."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"


def test_takes_what_a_command_prints() -> None:
    found = Source(says(f"print({document(SECRETS)!r})"), Path())
    assert read(found) == SECRETS
    assert not found.may_make_up


def test_takes_what_a_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    path.write_text(document(SECRETS))
    path.chmod(0o600)
    assert read(Source("", path)) == SECRETS
    assert Source("", path).may_make_up


def test_is_run_without_a_shell(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a YAML mapping"):
        read(Source(f"echo $HOME > {tmp_path}/file; true", Path()))
    assert list(tmp_path.iterdir()) == []


LEAKY = f"import sys; print('app: {SECRETS.app}'); "
FAILS = {
    "no_such_program": ("nosuch-program -d x", "cannot run nosuch-program: No such file"),
    "open_quote": ("pass 'a", "cannot be read: no closing quotation"),
    "exit_status": (
        says("import sys; sys.exit('no key\\nmore')"),
        "ended with exit status 1: no key",
    ),
    "silent": (says("import sys; sys.exit(7)"), "ended with exit status 7: (it says no more)"),
    "says_what_it_printed": (
        says(LEAKY + f"sys.exit('bad: {SECRETS.app}')"),
        "exit status 1: bad: *MASKED*",
    ),
    "quotes_a_line": (says(f"import sys; sys.exit('in app: {SECRETS.app}')"), "in app: *MASKED*"),
    "incomplete": (says(f"print('app: {SECRETS.app}')"), "the secret superuser is missing"),
    "prints_nothing": ("true", "is not a YAML mapping"),
    "prints_no_yaml": (says(f"print('{{{SECRETS.app}')"), "is not a YAML mapping"),
}


@pytest.mark.parametrize(("command", "problem"), FAILS.values(), ids=FAILS)
def test_refuses(command: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(Source(command, Path()))
    assert problem in in_form(caught.value).problem
    assert SECRETS.app not in str(caught.value)
    assert caught.value.__cause__ is None


def test_refuses_a_command_without_an_end() -> None:
    with patch.object(secret_sources, "SECONDS", 0.2), pytest.raises(SettingsError) as caught:
        read(Source(says("import time; time.sleep(60)"), Path()))
    assert "did not end within" in in_form(caught.value).problem
