"""A drill: which fault, and only after the cluster's name was typed."""

import pytest
from pyinfra.api.exceptions import DeployError

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


def test_what_is_going_to_happen_is_told() -> None:
    told = "\n".join(drill.told(described(), [FAULTS["switchover"]]))
    assert "the cluster pgha" in told
    assert "switchover: the primary is moved as planned" in told
