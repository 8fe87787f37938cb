"""A person's word before something that cannot be taken back: the name of the cluster."""

import sys
from collections.abc import Sequence

import click
from pyinfra import host
from pyinfra.api.exceptions import DeployError

import plan


def agree(cluster_name: str, lines: Sequence[str]) -> None:
    """Show what is going to be done, and go on only with the cluster's name.

    It is typed where somebody can, or given as `--data confirm=<name>`; `-y` is not enough, and
    `--dry` needs none. Raises DeployError without it.
    """
    for line in lines:
        click.echo(line, err=True)
    if plan.command_line.get("dry"):
        return
    word = host.data.get("confirm")
    if word is None and sys.stdin.isatty():
        word = click.prompt(f"Type the cluster's name to go on ({cluster_name})", err=True)
    if str(word) != cluster_name:
        raise DeployError(
            f"nobody confirmed that {cluster_name} is meant: nothing was done\n"
            f"    HINT: type its name when asked, or add --data confirm={cluster_name}."
            " -y is not enough."
        )
