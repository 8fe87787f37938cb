"""One testbed for all e2e tests; each test finds a healthy cluster and leaves one."""

import os
from collections.abc import Generator, Iterator

import pytest

from tests.e2e import deadlines
from tests.e2e import testbed as bed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say at once why a test failed: an hour later the hosts tell nothing of it any more."""
    report = yield
    if report.failed:
        terminal = item.config.pluginmanager.getplugin("terminalreporter")
        terminal.write_line(f"\n{report.longreprtext}")
    return report


@pytest.fixture(scope="session")
def fresh() -> None:
    """Six bare hosts that nothing was ever deployed to, and one outside the cluster."""
    if os.environ.get("PGHA_KEEP") != "1":
        bed.testbed("down")
    bed.up()


@pytest.fixture(scope="session")
def deployed(fresh: None) -> bed.Run:
    """The run that made the bare hosts a cluster; PGHA_SCALE then fills it as pgbench does."""
    run = bed.deploy()
    if scale := os.environ.get("PGHA_SCALE"):
        path = "PATH=$PATH:/usr/lib/postgresql/18/bin:/usr/pgsql-18/bin"
        bed.on(bed.primary(), f"{path}; pgbench -q -i -s {scale} postgres", user="postgres")
    return run


@pytest.fixture
def cluster(deployed: bed.Run) -> Iterator[None]:
    """A healthy cluster before and after the test."""
    bed.wait_until("a healthy cluster before the test", bed.healthy, deadlines.REJOIN)
    yield
    bed.wait_until("a healthy cluster after the test", bed.healthy, deadlines.REJOIN)
