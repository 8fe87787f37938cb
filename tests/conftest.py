"""What every test shares."""

import os

import pytest
from hypothesis import HealthCheck, settings

from cluster import Cluster
from tests.clusters import described

pytest.register_assert_rewrite("tests.refusals")  # so that a failed assert there shows its values

# Examples come from the code alone: a run on another machine, or a loaded one, tests the same.
settings.register_profile(
    "here",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "here"))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The five hosts with every setting at its default."""
    return described()
