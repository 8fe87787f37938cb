"""The secrets file on the control machine, written once a run really begins."""

from pyinfra import host
from pyinfra.api import FunctionCommand, operation

import plan
from operations import Commands


def deploy() -> None:
    """Keep newly made secrets before any host learns one."""
    if plan.secrets_are_new() and plan.first_of([member.name for member in plan.cluster().hosts]):
        kept(name="Keep the new secrets in the secrets file")


@operation()
def kept() -> Commands:
    """
    Write newly made secrets to the secrets file; `--dry` leaves none behind.

    **Example:**

    .. code:: python

        secrets_file.kept(name="Keep the new secrets")
    """
    yield FunctionCommand(plan.keep_secrets, (), {})
    host.log(f"secrets are in {plan.secrets_path()}: keep a copy in a safe place")
