"""Secrets that nobody should use are refused, and no secret is shown."""

from pathlib import Path
from typing import Any

import pytest

from credentials import (
    NAMES,
    STAYS,
    chosen,
    document,
    keep,
    keep_instead,
    made_up,
    parsed,
    read,
    rotated,
    shown,
    validated,
)
from setting_types import SettingsError
from tests.clusters import AUTHORITY, SECRETS
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


@pytest.mark.parametrize("value", ["Gr\u00fc\u00dfe-0123-Zz", "two words-0123-Zz"])
def test_refuses_a_secret_that_clients_would_read_differently(value: str) -> None:
    with pytest.raises(SettingsError, match="the secret app has spaces, or characters beyond"):
        validated(GOOD_SECRETS | {"app": value})


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
        keep(made_up(AUTHORITY), tmp_path / "file" / "secrets.yml")
    assert "secrets_file" in in_form(caught.value).hint


def test_keeps_what_it_reads_again_and_never_over_a_file(tmp_path: Path) -> None:
    path, secrets = tmp_path / "folder" / "secrets.yml", made_up(AUTHORITY)
    keep(secrets, path)
    assert read(path) == secrets
    with pytest.raises(SettingsError, match="came up while this ran"):
        keep(made_up(AUTHORITY), path)
    assert read(path) == secrets
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_takes_good_secrets() -> None:
    assert vars(validated(GOOD_SECRETS)) == GOOD_SECRETS | {"repositories": {}}


def test_keys_and_certificates_end_with_a_line() -> None:
    """As a command prints them they may not, and as the files of the hosts they do."""
    told = vars(made_up(AUTHORITY))
    bare = {name: text.rstrip() for name, text in told.items() if name != "repositories"}
    assert vars(validated(bare)) == told


REPOSITORIES = {"offsite": {"key": "anyKey", "passphrase": "passphraseOfIt"}}


def test_a_repository_has_its_own_passphrase_or_the_clusters() -> None:
    secrets = validated(GOOD_SECRETS | {"repositories": REPOSITORIES})
    assert secrets.passphrase("offsite") == "passphraseOfIt"
    assert secrets.passphrase("main") == secrets.backup_cipher
    assert secrets.key("offsite", "key") == "anyKey"
    assert parsed(document(secrets).encode(), "x") == secrets


@pytest.mark.parametrize(("repository", "name"), [("offsite", "key_secret"), ("other", "key")])
def test_tells_which_key_of_a_repository_is_missing(repository: str, name: str) -> None:
    secrets = validated(GOOD_SECRETS | {"repositories": REPOSITORIES})
    with pytest.raises(SettingsError) as caught:
        secrets.key(repository, name)
    error = in_form(caught.value)
    assert error.problem == f"the secret {name} of the repository {repository} is missing"
    assert f"`repositories: {{{repository}: {{{name}: …}}}}`" in error.hint


@pytest.mark.parametrize(
    "bad",
    ["s3cr3tOfS3", {"offsite": "s3cr3tOfS3"}, {"offsite": {"key": 42}}, {"offsite": {"key": " "}},
     {"offsite": {"passphrase": "s3cr3tOfS3"}}],
)  # fmt: skip
def test_refuses_keys_of_repositories_in_another_form(bad: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        validated(GOOD_SECRETS | {"repositories": bad})
    assert "s3cr3tOfS3" not in str(in_form(caught.value))


# --- rotated -----------------------------------------------------------------------------------


def test_all_passwords_are_new_and_what_is_none_stays() -> None:
    new = rotated(SECRETS, chosen(None))
    changed = {name for name in NAMES if vars(new)[name] != vars(SECRETS)[name]}
    assert changed == set(NAMES) - set(STAYS)
    assert len({vars(new)[name] for name in changed}) == len(changed)


def test_only_what_was_chosen_is_new() -> None:
    new = rotated(SECRETS, chosen("replication, app"))
    assert {n for n in NAMES if vars(new)[n] != vars(SECRETS)[n]} == {"replication", "app"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("app,backup_cipher", "backup_cipher cannot be rotated: pgBackRest"),
        ("authority_key", "authority_key cannot be rotated"),
        ("apps", "there is no password 'apps'"),
        ("", "there is no password ''"),
    ],
)
def test_refuses_to_rotate(words: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(words)
    assert says in in_form(caught.value).problem


def test_a_password_of_etcd_has_a_user_of_its_own() -> None:
    new = rotated(SECRETS, ["etcd_root"])
    assert new.etcd_root_user != SECRETS.etcd_root_user
    assert new.etcd_patroni_user == SECRETS.etcd_patroni_user
    assert SECRETS.etcd_root_user.startswith("root-")


def test_new_secrets_take_the_old_ones_place_in_one_step(tmp_path: Path) -> None:
    path, link = tmp_path / "secrets.yml", tmp_path / "link"
    keep(SECRETS, path)
    link.symlink_to(path)
    new = rotated(SECRETS, chosen(None))
    keep_instead(SECRETS, new, link)
    assert read(path) == new
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match="was changed while this ran"):
        keep_instead(SECRETS, rotated(new, ["app"]), path)
    assert read(path) == new
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "secrets.yml"]


# --- shown -------------------------------------------------------------------------------------


def test_shows_the_document_or_one_value(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    path.write_text(shown(SECRETS, None))
    path.chmod(0o600)
    assert read(path) == SECRETS
    assert shown(SECRETS, "app") == f"{SECRETS.app}\n"
    assert shown(SECRETS, "authority_key") == SECRETS.authority_key
    with pytest.raises(SettingsError, match="there is no secret 'pasword'"):
        shown(SECRETS, "pasword")


def test_no_refusal_and_no_repr_shows_a_secret() -> None:
    values = GOOD_SECRETS | {"app": "<kept-to-myself>"}
    with pytest.raises(SettingsError) as caught:
        validated(values)
    shown = f"{caught.value!r} {caught.value} {validated(GOOD_SECRETS)!r}"
    assert not [value for value in {*values.values(), *GOOD_SECRETS.values()} if value in shown]
