"""What cannot be taken back begins only after the cluster's name was typed."""

from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_host

import plan
from operations import agreement


def agree(monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], typed: str | None = None) -> int:
    """Agree, and return how often somebody was asked; `typed` is None where nobody can type."""
    asked: list[str] = []

    def prompt(question: str, err: bool) -> str | None:
        asked.append(question)
        return typed

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: typed is not None))
    with ctx_host.use(SimpleNamespace(data=data)):
        agreement.agree("pgha", ["this happens"])
    return len(asked)


def test_the_name_is_typed_by_who_saw_what_happens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agree(monkeypatch, {}, "pgha") == 1
    assert "this happens" in capsys.readouterr().err


def test_a_program_gives_it_and_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agree(monkeypatch, {"confirm": "pgha"}) == 0
    assert agree(monkeypatch, {"confirm": "pgha"}, "never asked") == 0


@pytest.mark.parametrize(
    ("data", "typed"),
    [({}, ""), ({}, "PGHA"), ({}, "yes"), ({}, None), ({"confirm": "shop"}, "pgha")],
    ids=str,
)
def test_anything_else_stops_it(
    monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], typed: str | None
) -> None:
    with pytest.raises(DeployError, match="nothing was done"):
        agree(monkeypatch, data, typed)


def test_a_dry_run_needs_nobodys_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.command_line, "dry", True)
    assert agree(monkeypatch, {}, "never asked") == 0
