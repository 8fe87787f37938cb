"""restore.py and restore_undo.py on five @fake hosts: what is refused before anything is stopped,
and what a dry run says; and the plans that an undo makes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from decisions import Refusal
from facts.restore import DataDir, Progress
from operations import restore_undo
from operations.restore_plan import Plan, read
from tests.briefly import PLACES, PLAN
from tests.clusters import SECRETS, described
from tests.test_deploy import FAKE, Run, pyinfra, refused

RESTORE, UNDO = "day2/restore.py", "day2/restore_undo.py"
TARGET = "2026-03-01 11:00:00+00:00"


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    file = tmp_path / "secrets.yml"
    file.write_text(yaml.safe_dump(vars(SECRETS)))
    file.chmod(0o600)
    return file


def restore(*arguments: str, secrets: Path, situation: str = "", script: str = RESTORE) -> Run:
    told = ("--data", f"secrets_file={secrets}")
    return pyinfra(FAKE, script, *told, *arguments, situation=situation)


def data(**values: str) -> list[str]:
    return [word for name, value in values.items() for word in ("--data", f"{name}={value}")]


def test_a_dry_run_says_what_would_be_done_and_asks_for_no_name(secrets_file: Path) -> None:
    run = restore("--dry", *data(target=TARGET), secrets=secrets_file)
    assert run.code == 0, run.stderr
    assert "Traceback" not in run.output
    assert "Restore of pgha to: time 2026-03-01 11:00:00" in run.stderr
    assert (
        "backup 20260301-010000F of the repository main, which ended 2026-03-01 01:01:00 UTC"
        in run.stderr
    )
    assert "@fake/node1, which leads afterwards" in run.stderr
    assert run.stderr.count("Restore of pgha to") == 1
    assert "Starting operation" not in run.output


def test_a_dry_run_says_that_another_database_makes_room(secrets_file: Path) -> None:
    given = data(target=TARGET)
    run = restore("--dry", *given, secrets=secrets_file, situation="another_database")
    assert "instead of another database, which runs now" in run.stderr
    assert "another database" not in restore("--dry", *given, secrets=secrets_file).stderr


def test_etcd_may_be_away_from_the_host_that_is_asked_first(secrets_file: Path) -> None:
    run = restore("--dry", *data(target=TARGET), secrets=secrets_file, situation="no_etcdctl")
    assert run.code == 0, run.stderr


REFUSED: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "no target": ({}, "", ["no target is given", "a time with its zone"]),
    "nobody confirmed": ({"target": TARGET}, "", ["nobody confirmed", "-y is not enough"]),
    "another name": ({"target": TARGET, "confirm": "shop"}, "", ["nobody confirmed"]),
    "no such target": ({"target": "yesterday"}, "", ["'yesterday' is no target"]),
    "the future": ({"target": "2026-03-01 12:00:01Z"}, "", ["is in the future"]),
    "too early": ({"target": "2026-03-01 01:00:59Z"}, "", ["before the end of the oldest backup"]),
    "not archived": ({"target": "0/A000000"}, "", ["is not before 0/A000000: the archive lacks"]),
    "unknown backup": ({"target": "20250101-010000F"}, "", ["no backup 20250101-010000F"]),
    "unknown repository": (
        {"target": TARGET, "repository": "offsite"},
        "",
        ["there is no repository 'offsite'", "there are main."],
    ),
    "no room": (
        {"target": TARGET},
        "no_room",
        ["@fake/node3 has 300 MiB free", "2158 MiB are needed", "before-*"],
    ),
    "paused": ({"target": TARGET}, "paused", ["Patroni is paused", "patronictl resume"]),
    "no quorum": (
        {"target": TARGET},
        "no_quorum",
        ["etcd commits nothing", "verify.py says why"],
    ),
    "a mount point": ({"target": TARGET}, "mounted", ["on @fake/node3 is a mount point"]),
    "a tablespace in the backup": (
        {"target": TARGET},
        "tablespaces",
        ["20260301-010000F has tablespaces", "far at /srv/far", "restore by hand"],
    ),
    "another restore": (
        {"target": TARGET, "confirm": "pgha"},
        "another_restore",
        ["Restore of pgha to latest was begun", "--data target='latest'", "day2/restore_undo.py"],
    ),
}


@pytest.mark.parametrize(("given", "situation", "says"), REFUSED.values(), ids=REFUSED)
def test_refuses_before_anything_is_stopped(
    given: dict[str, str], situation: str, says: list[str], secrets_file: Path
) -> None:
    text = refused(restore("-y", *data(**given), secrets=secrets_file, situation=situation))
    assert [part for part in says if part not in text] == []


def test_refuses_to_leave_a_database_host_out(secrets_file: Path) -> None:
    words = data(target=TARGET, confirm="pgha")
    text = refused(restore("-y", "--exclude", "@fake/node3", *words, secrets=secrets_file))
    assert "@fake/node3 is not part of this run" in text


def test_goes_on_with_a_restore_to_the_same_target(secrets_file: Path) -> None:
    words = ("--dry", *data(target="latest"))
    run = restore(*words, secrets=secrets_file, situation="another_restore")
    assert run.code == 0, run.stderr
    assert "Restore of pgha to latest: going on since 20260301T110000Z" in run.stderr


# --- undo -------------------------------------------------------------------------------------


def test_an_undo_needs_the_clusters_name(secrets_file: Path) -> None:
    run = restore("-y", secrets=secrets_file, script=UNDO, situation="another_restore")
    assert "nobody confirmed" in refused(run)


def test_a_dry_undo_gives_up_what_has_stopped_nobody(secrets_file: Path) -> None:
    run = restore("--dry", secrets=secrets_file, script=UNDO, situation="another_restore")
    assert run.code == 0, run.stderr
    assert "the cluster was not touched yet" in run.stderr


def test_there_is_nothing_to_undo(secrets_file: Path) -> None:
    run = restore("-y", *data(confirm="pgha"), secrets=secrets_file, script=UNDO)
    assert "there is nothing to put back" in refused(run)


def stamp(place: str) -> str:
    return PLACES[place].partition(".before-")[2]


def has(**states: str) -> Progress:
    found = {
        PLACES[name]: DataDir(system="7", state=state, timeline=3, lsn="0/1")
        for name, state in states.items()
    }
    return Progress(plan={}, mark="", patroni="active", directories=found, free_mib=1, fixed="")


def undo(
    earlier: Plan | None, is_led: bool, *found: Progress, wanted: str = stamp("aside")
) -> Plan:
    hosts = dict(zip(("node1", "node2", "node3"), found, strict=True))
    return restore_undo.new(described(), hosts, earlier, is_led, wanted)


PRIMARY, REPLICA = "shut down", "shut down in recovery"


def test_the_old_primarys_data_leads_again() -> None:
    plan = undo(
        None, True, has(data="x", aside=REPLICA), has(data="x", aside=PRIMARY), has(data="x")
    )
    assert (plan.host, plan.source, plan.backups) == ("node2", PLACES["aside"], ())


def test_of_several_the_one_that_is_named_is_put_back() -> None:
    one = has(data="x", older=PRIMARY, aside=REPLICA)
    two = has(data="x", older=REPLICA, aside=PRIMARY)
    assert undo(None, True, one, two, has(data="x")).host == "node2"
    assert undo(None, True, one, two, has(data="x"), wanted=stamp("older")).host == "node1"


@pytest.mark.parametrize(
    ("wanted", "says"), [("", "no restore is unfinished"), ("20200101T000000Z", "no host has")]
)
def test_the_same_undo_again_puts_nothing_back(wanted: str, says: str) -> None:
    """What it has put back has no name of old data any more."""
    one = has(data="x", aside=PRIMARY)
    with pytest.raises(Refusal, match=says) as refusal:
        undo(None, True, one, has(data="x"), has(data="x"), wanted=wanted)
    assert f"--data target={stamp('aside')}" in str(refusal.value)


def test_what_was_stopped_and_not_moved_starts_again_where_it_is() -> None:
    plan = undo(PLAN, False, has(data=PRIMARY), has(data=REPLICA, restored="x"), has(data=REPLICA))
    assert (plan.host, plan.source) == ("node1", PLACES["data"])


def test_a_restore_that_has_not_stopped_the_primary_is_given_up() -> None:
    assert undo(PLAN, True, has(data="x"), has(data="x"), has(data="x")).host == ""


@pytest.mark.parametrize(
    ("earlier", "found", "part"),
    [
        (PLAN, [has(data=REPLICA), has(data="x", aside=PRIMARY), has(data=REPLICA)], "is half-way"),
        (None, [has(data="x", aside=PRIMARY)] * 2 + [has(data="x")], "2 hosts have a"),
        (None, [has(data="x", aside=REPLICA)] * 3, "0 hosts have a"),
        (None, [has(data="x")] * 3, "no host has a"),
    ],
    ids=["half-way", "two primaries", "no primary", "removed"],
)
def test_an_undo_that_is_not_clean_is_refused(
    earlier: Plan | None, found: list[Progress], part: str
) -> None:
    with pytest.raises(Refusal, match=part):
        undo(earlier, False, *found)


def test_a_plan_is_read_as_it_was_written() -> None:
    document: dict[str, Any] = yaml.safe_load(PLAN.text)
    assert read(document) == PLAN
