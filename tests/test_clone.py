"""clone.py on five @fake hosts: where it reads from, what it refuses before anything is done."""

import json
from pathlib import Path
from typing import Any

import pytest

from setting_types import SettingsError
from tests.clusters import READER, SOURCE, described
from tests.test_deploy import Run, refused
from tests.test_restore import TARGET, data, restore, secrets_file

CLONE = "day2/clone.py"
__all__ = ["secrets_file"]


def clone(*arguments: str, secrets: Path, situation: str = "", source: bool = True) -> Run:
    told = data(pgbackrest_source=json.dumps(SOURCE)) if source else []
    return restore(*told, *arguments, secrets=secrets, situation=situation, script=CLONE)


def test_a_dry_run_says_what_would_be_done(secrets_file: Path) -> None:
    run = clone("--dry", *data(target=TARGET), secrets=secrets_file, situation="another_database")
    assert run.code == 0, run.stderr
    for part in (
        "Clone of shop into pgha to: time 2026-03-01 11:00:00",
        "backup 20260301-010000F of shop at 10.0.2.41, which ended 2026-03-01 01:01:00 UTC",
        # The one that may read, whoever leads.
        "@fake/node1, which leads afterwards",
        "instead of another database, which runs now",
        "all that is there now",
    ):
        assert part in run.stderr


def test_it_is_refused_without_a_source(secrets_file: Path) -> None:
    text = refused(clone("--dry", *data(target=TARGET), secrets=secrets_file, source=False))
    assert "pgbackrest_source is not set" in text


def test_it_is_refused_without_this_clusters_name(secrets_file: Path) -> None:
    words = data(target=TARGET, confirm="shop")
    text = refused(clone("-y", *words, secrets=secrets_file))
    assert "nobody confirmed that pgha is meant" in text


def test_a_source_that_is_closed_says_how_to_open_it(secrets_file: Path) -> None:
    words = data(target=TARGET)
    text = refused(clone("--dry", *words, secrets=secrets_file, situation="closed_source"))
    assert "@fake/node1 cannot read backups of shop at 10.0.2.41" in text
    assert '"address": "10.0.0.11", "key": "ssh-ed25519 Knode1"}]' in text


@pytest.mark.parametrize(
    ("situation", "told"), [("main_is_silent", "does not answer"), ("main_is_empty", "no stanza")]
)
def test_a_clone_needs_a_repository_of_its_own_to_be_backed_up_in(
    situation: str, told: str, secrets_file: Path
) -> None:
    words = data(target=TARGET)
    text = refused(clone("--dry", *words, secrets=secrets_file, situation=situation))
    assert "the repository main" in text
    assert told in text


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("source", SOURCE | {"stanza": "Shop"}, "pgbackrest_source.stanza cannot be 'Shop'"),
        ("source", SOURCE | {"address": "shop"}, "pgbackrest_source.address cannot be 'shop'"),
        ("source", SOURCE | {"host_key": "x"}, "pgbackrest_source.host_key cannot be 'x'"),
        ("readers", [READER | {"key": 'x" y'}], "pgbackrest_readers cannot be 'x\" y'"),
        ("readers", [READER | {"key": "ssh-ed25519 AAAA\nssh-ed25519 BBBB"}], "pgbackrest_readers"),
        ("readers", [READER | {"name": "a b"}], "pgbackrest_readers cannot be 'a b'"),
        ("readers", [READER | {"address": "10.0.1.0/24"}], "pgbackrest_readers cannot be"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, value: Any, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        described(**{f"pgbackrest_{name}": value})
    assert told in str(caught.value)
    assert "docs/operations.md" in str(caught.value)
