"""Secrets that nobody should use are refused, and no secret is shown."""

from pathlib import Path
from typing import Any

import pytest

from credentials import NAMES, keep, made_up, read, validated
from settings import SettingsError
from tests.refusals import in_form

GOOD_SECRETS = {name: f"f4Ke-{name}-0123Zz" for name in NAMES}

BAD_SECRETS: dict[str, Any] = {
    "changeme": "changeme",
    "change_me_within_more": "please-CHANGE_ME-now",
    "placeholder": "a placeholder",
    "example": "example123",
    "password": "password",
    "the_users_own_name": "Postgres",
    "angle_brackets": "<your password>",
    "braces": "{{ vault }}",
    "only_stars": "********",
    "empty": "",
    "second_line": "first\nsecond",
    "not_text": 12345678,
    "nothing": None,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", BAD_SECRETS.values(), ids=BAD_SECRETS)
def test_refuses_a_secret_at(bad: Any, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validated(GOOD_SECRETS | {name: bad})
    error = in_form(caught.value)
    assert f"the secret {name} " in error.problem
    assert "strong value" in error.hint


def test_refuses_a_secret_that_is_short() -> None:
    with pytest.raises(SettingsError) as caught:
        validated(GOOD_SECRETS | {"app": "f4Ke-12345Z"})
    assert in_form(caught.value).problem == "the secret app is shorter than 12 characters"


@pytest.mark.parametrize("name", NAMES)
def test_refuses_a_secret_that_is_missing(name: str) -> None:
    with pytest.raises(SettingsError, match=f"the secret {name} is missing"):
        validated({k: v for k, v in GOOD_SECRETS.items() if k != name})


def test_refuses_an_unknown_secret() -> None:
    with pytest.raises(SettingsError, match="unknown secret spare"):
        validated(GOOD_SECRETS | {"spare": "f4KeZz"})


def test_refuses_a_secret_that_clients_would_encode_differently() -> None:
    with pytest.raises(SettingsError, match="the secret app has characters beyond ASCII"):
        validated(GOOD_SECRETS | {"app": "Gr\u00fc\u00dfe-0123-Zz"})


def test_refuses_a_key_that_is_no_name() -> None:
    with pytest.raises(SettingsError, match="unknown secret 1"):
        validated({**GOOD_SECRETS, 1: "f4KeZz", "spare": "f4KeZz"})  # type: ignore[dict-item]


def test_refuses_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    path.write_bytes(b"app: \xff\xfe")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="is not a YAML mapping"):
        read(path)


def test_refuses_a_path_that_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(SettingsError, match="cannot be read: ") as caught:
            read(path)
        assert "secrets_file" in in_form(caught.value).hint


def test_refuses_a_place_where_nobody_can_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written: ") as caught:
        keep(made_up(), tmp_path / "file" / "secrets.yml")
    assert "secrets_file" in in_form(caught.value).hint


def test_keeps_what_it_reads_again_and_never_over_a_file(tmp_path: Path) -> None:
    path, secrets = tmp_path / "folder" / "secrets.yml", made_up()
    keep(secrets, path)
    assert read(path) == secrets
    with pytest.raises(SettingsError, match="came up while this ran"):
        keep(made_up(), path)
    assert read(path) == secrets
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_takes_good_secrets() -> None:
    assert vars(validated(GOOD_SECRETS)) == GOOD_SECRETS


def test_no_refusal_and_no_repr_shows_a_secret() -> None:
    values = GOOD_SECRETS | {"app": "<kept-to-myself>"}
    with pytest.raises(SettingsError) as caught:
        validated(values)
    shown = f"{caught.value!r} {caught.value} {validated(GOOD_SECRETS)!r}"
    assert not [value for value in {*values.values(), *GOOD_SECRETS.values()} if value in shown]
