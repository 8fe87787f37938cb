"""Every operation in every situation: the cases are data, tests/operations/<operation>/*.yaml."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import harness
from tests.clusters import SECRETS

FOLDER = Path(__file__).parent / "operations"
CASES = sorted(FOLDER.glob("*/*.yaml"))


def operation_of(path: Path) -> Callable[..., Any]:
    """Return the operation that a case's folder names, as in `etcd.started`."""
    module, _, name = path.parent.name.partition(".")
    operation: Callable[..., Any] = getattr(import_module(f"operations.{module}"), name)
    return operation


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    outcome = harness.run(operation_of(path), case)
    harness.check(outcome, case)
    for command in outcome.commands:
        line = harness.line_of(command)
        assert not [secret for secret in vars(SECRETS).values() if secret in line]


def test_every_operation_of_a_deploy_has_cases() -> None:
    imported = re.search(r"from operations import \((.*?)\)", DEPLOY.read_text(), re.S)
    assert imported
    named = {path.parent.name for path in CASES}
    for name in [*re.findall(r"\w+", imported[1]), "application"]:
        module = import_module(f"operations.{name}")
        own = [n for n, o in vars(module).items() if o.__class__.__name__ == "function"
               and hasattr(o, "_inner") and o.__module__ == module.__name__]  # fmt: skip
        assert {f"{name}.{operation}" for operation in own} <= named | SHOWN_BY_A_WHOLE_RUN


DEPLOY = Path(__file__).parent.parent / "deploy.py"
# See test_deploy.py; they have no commands of their own.
SHOWN_BY_A_WHOLE_RUN = {"phase.reached", "secrets_file.kept"}
