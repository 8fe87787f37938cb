"""A table comes back as it was, beside what is live, and the cluster notices nothing."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e import testbed as bed
from tests.e2e.test_rehearsal import WORK
from tests.e2e.test_restore import failed_over, moment_among_writes, writing

pytestmark = pytest.mark.long
SCRIPT = ("day2/restore_table.py", "-y")
DUMPS = f"{WORK}/dumps"
HISTORY = """
DROP TABLE IF EXISTS sold, "moved";
CREATE TABLE sold (id serial PRIMARY KEY, at timestamptz DEFAULT now()) PARTITION BY RANGE (id);
CREATE TABLE sold_first PARTITION OF sold FOR VALUES FROM (0) TO (500);
CREATE TABLE sold_later PARTITION OF sold FOR VALUES FROM (500) TO (100000);
INSERT INTO sold SELECT generate_series(1, 1000);
"""


def as_app(sql: str) -> str:
    """Return what the application is told through HAProxy, or nothing where that is nothing."""
    with bed.connect(bed.RW) as connection:
        found = connection.execute(sql)
        return str(found.fetchone()[0]) if found.description else ""  # type: ignore[index]


def restore(**given: str) -> bed.Run:
    return bed.pyinfra(*SCRIPT, *(w for k, v in given.items() for w in ("--data", f"{k}={v}")))


@pytest.fixture
def room(cluster: None) -> Iterator[None]:
    """No schema and no dump is left behind, and no copy ever is."""
    yield
    assert bed.on("pgbackrest", f"ls -A {WORK}") in ("", "dumps")
    bed.on("pgbackrest", f"rm -rf {DUMPS}")
    for schema in schemas():
        as_app(f"DROP SCHEMA {schema} CASCADE")
    as_app("DROP TABLE IF EXISTS sold, written")


def schemas() -> list[str]:
    found = as_app(
        "SELECT coalesce(json_agg(nspname), '[]')::text FROM pg_namespace"
        " WHERE nspname LIKE 'restored_%'"
    )
    return list(json.loads(found))


def test_dropped_tables_come_back_across_a_failover(room: None) -> None:
    as_app(HISTORY)
    with writing() as writers:
        target, acknowledged = moment_among_writes(writers)
        as_app("DROP TABLE sold")
        failed_over()
        run = restore(target=target, tables="public.sold,written", load="yes")
    assert run.code == 0, run.stderr[-3000:]
    (schema,) = schemas()
    assert f"schema {schema} of app, beside the live ones" in run.stdout
    assert as_app(f"SELECT count(*) || ' ' || sum(id) FROM {schema}.sold") == "1000 500500"
    rows = as_app(f"SELECT json_agg(id)::text FROM {schema}.written")
    assert set(json.loads(rows)) == acknowledged
    live = set(json.loads(as_app("SELECT json_agg(id)::text FROM written")))
    assert live > acknowledged, "what was written since is there"
    assert as_app("SELECT to_regclass('sold') IS NULL") == "True"


def test_a_whole_database_comes_as_a_dump(room: None) -> None:
    as_app(HISTORY)
    run = restore(target="latest", database="app")
    assert run.code == 0, run.stderr[-3000:]
    listed = bed.on("pgbackrest", f"{bed.PLATFORM.postgresql_bin}/pg_restore -l {DUMPS}/*.dump")
    assert "TABLE DATA public sold_later app" in listed
    assert bed.on("pgbackrest", f"stat -c '%a %U' {DUMPS} {DUMPS}/*.dump").split("\n")[0] == (
        "700 postgres"
    )
    assert schemas() == []


def test_a_table_that_was_not_there_is_told_and_nothing_is_left(room: None) -> None:
    run = restore(target="latest", tables="never_there", load="yes")
    assert run.code != 0
    assert "never_there is not there to be dumped" in run.stderr
    assert bed.on("pgbackrest", f"ls -A {DUMPS}") == ""
    assert schemas() == []
