"""restore_table.py on five @fake hosts: what is refused, and where a target leads."""

from pathlib import Path

import pytest

from tests.test_deploy import FAKE, Run, pyinfra, refused
from tests.test_restore import TARGET, data, secrets_file

__all__ = ["secrets_file"]
SCRIPT = "day2/restore_table.py"


def restore(*arguments: str, secrets: Path, **given: str) -> Run:
    told = data(secrets_file=str(secrets), **given)
    return pyinfra(FAKE, SCRIPT, *told, *arguments)


def test_the_copy_goes_to_the_target(secrets_file: Path) -> None:
    run = restore("-y", "-vvv", secrets=secrets_file, target=TARGET, tables="orders,items")
    assert run.code == 0, run.stderr
    assert "pgha-rehearsal dump /data/pgha-rehearsal/dumps/app-" in run.output
    assert "recovery_target_timeline = '\"'\"'latest'\"'\"'" in run.output
    assert "recovery_target_time='\"'\"'2026-03-01 11:00:00.000000+00'\"'\"'" in run.output
    assert "104857600 20260301-010000F" in run.output
    assert "orders, items of app as of 2026-03-01 11:00:00+00:00" in run.output
    assert "pg_restore" not in run.output


def test_a_password_is_handed_over_and_not_shown(secrets_file: Path) -> None:
    given = {"target": TARGET, "tables": "orders", "load": "yes"}
    run = restore("-y", "-vvv", secrets=secrets_file, **given)
    assert run.code == 0, run.stderr
    assert "IFS= read -r PGPASSWORD" in run.output
    assert "applicationPass5" not in run.output
    assert "beside the live ones" in run.output


def test_a_dry_run_runs_nothing(secrets_file: Path) -> None:
    run = restore("--dry", secrets=secrets_file, target=TARGET, tables="orders")
    assert run.code == 0, run.stderr
    assert "as of" not in run.output


REFUSED: dict[str, tuple[dict[str, str], list[str]]] = {
    "no target": ({"tables": "orders"}, ["no target is given", "a time with its zone"]),
    "the future": ({"target": "2026-03-01 12:00:01Z", "tables": "x"}, ["is in the future"]),
    "a name in capitals": ({"target": TARGET, "tables": "Orders"}, ["'Orders' cannot be the name"]),
    "a statement": ({"target": TARGET, "tables": "x; DROP TABLE y"}, ["cannot be the name"]),
    "a database of no name": ({"target": TARGET, "database": "a b"}, ["'a b' cannot be the name"]),
    "all of it beside itself": (
        {"target": TARGET, "load": "yes"},
        ["a whole database is dumped, and not loaded", "name tables="],
    ),
    "loaded or not": ({"target": TARGET, "load": "no"}, ["load=no is neither yes nor left out"]),
    "another repository": (
        {"target": TARGET, "repository": "offsite"},
        ["tables come from the repository main only"],
    ),
    "into another database": (
        {"target": TARGET, "load": "yes", "tables": "x", "database": "shop"},
        ["only tables of app can be loaded", "leave load= out"],
    ),
}


@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED)
def test_refuses(given: dict[str, str], says: list[str], secrets_file: Path) -> None:
    text = refused(restore("-y", secrets=secrets_file, **given))
    assert [part for part in says if part not in text] == []
