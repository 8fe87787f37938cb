"""The secrets file on the control machine, written once a run really begins."""

from pyinfra import host
from pyinfra.api import FunctionCommand, operation

import plan
from operations import Commands


def deploy() -> None:
    """Keep newly made secrets before any host learns one."""
    if plan.secrets_are_new() and plan.first_of([member.name for member in plan.cluster().hosts]):
        kept(name="Keep the new secrets in the secrets file")


def rotate() -> None:
    """Keep the new passwords before any host learns one."""
    first = plan.first_of([member.name for member in plan.cluster().hosts])
    if first and plan.secrets_source().may_make_up:
        rotated(name="Keep the new passwords in the secrets file")


@operation()
def rotated() -> Commands:
    """
    Write new passwords over the old ones in the secrets file.

    **Example:**

    .. code:: python

        secrets_file.rotated(name="Keep the new passwords")
    """
    yield FunctionCommand(plan.keep_rotated_secrets, (), {})
    host.log(
        f"{plan.secrets_path()} has the new passwords: whatever stops this run, the next deploy or"
        " another run of this brings them to all hosts"
    )


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
