"""How a description of a cluster is refused: with the form that every refusal promises."""

from typing import Any

import pytest

from setting_types import SettingsError
from tests.clusters import described


def refusal(**changes: Any) -> SettingsError:
    """Return how `described` refuses these changes, in its promised form."""
    with pytest.raises(SettingsError) as caught:
        described(**changes)
    return in_form(caught.value)


def in_form(error: SettingsError) -> SettingsError:
    """Return the error; fails unless it is one line and a HINT, and the HINT a sentence."""
    assert str(error) == f"{error.problem}\n    HINT: {error.hint}"
    assert "\n" not in error.problem
    assert "\n" not in error.hint
    assert error.hint[-1] in ".?"
    return error
