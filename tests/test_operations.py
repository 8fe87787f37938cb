"""Every operation in every situation: the cases are data, tests/operations/<operation>/*.yaml."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import harness
from tests.clusters import SECRET_VALUES

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
        assert not [secret for secret in SECRET_VALUES.values() if secret in line]


def test_every_operation_has_cases() -> None:
    modules = Path(__file__).parent.parent / "operations"
    named = {path.parent.name for path in CASES}
    for path in modules.glob("*.py"):
        module = import_module(f"operations.{path.stem}")
        operations = {n for n, o in vars(module).items() if getattr(o, "__module__", "") ==
                      module.__name__ and hasattr(o, "_inner")}  # fmt: skip
        missing = {f"{path.stem}.{name}" for name in operations} - named - UNTESTED_HERE
        assert not missing


# What only a whole run shows (test_deploy.py and e2e). The proofs' judgement has test_proofs.py.
UNTESTED_HERE = {"phase.reached", "secrets_file.kept", "secrets_file.rotated", "report.printed"}
UNTESTED_HERE |= {f"proofs.{name}" for name in ("etcd", "patroni", "ports")}
UNTESTED_HERE |= {"proofs_tls.authority", "proofs_tls.certificates", "authority.told"}
UNTESTED_HERE |= {f"proofs_backup.{name}" for name in ("queue", "gaps", "timed")}
UNTESTED_HERE |= {f"proofs_access.{name}" for name in ("routing", "address", "archiving", "backup")}
