"""A drill: which fault, and only after the cluster's name was typed."""

from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_host

from faults.catalogue import FAULTS
from operations import drill
from tests.clusters import described


def test_all_means_all_that_are_safe() -> None:
    assert [fault.name for fault in drill.chosen("all")] == drill.SAFE
    assert not any("host" in name for name in drill.SAFE)


@pytest.mark.parametrize("name", [None, "primary-killed", "nonsense"])
def test_what_no_drill_does_is_refused(name: str | None) -> None:
    with pytest.raises(DeployError, match="HINT: --data fault=all, or one of patroni-killed"):
        drill.chosen(name)


def confirm(typed: str | None, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any]) -> None:
    monkeypatch.setattr("click.prompt", lambda *_, **__: typed)
    with ctx_host.use(SimpleNamespace(data=data)):
        drill.confirm(described(), [FAULTS["switchover"]])


def test_the_name_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    confirm("pgha", monkeypatch, {})
    assert "switchover: the primary is moved as planned" in capsys.readouterr().out


@pytest.mark.parametrize("typed", ["", "PGHA", "yes"])
def test_another_name_stops_it(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeployError, match="nothing was done"):
        confirm(typed, monkeypatch, {})
    with pytest.raises(DeployError, match="nothing was done"):
        confirm("pgha", monkeypatch, {"confirm": typed})


def test_a_program_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    confirm("never asked", monkeypatch, {"confirm": "pgha"})
