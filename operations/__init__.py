"""Make it so: one module per component, each a function that deploy.py calls and its operations."""

from collections.abc import Generator
from typing import Any

Commands = Generator[Any, None, None]
"""What an operation yields: pyinfra's commands, each run before the generator goes on."""
