"""Print the cluster's secrets on stdout; no other command does, and this one does it each time.

    pyinfra @local day2/show_secrets.py -y
    pyinfra @local day2/show_secrets.py -y --data secret=app

The first prints the whole document, the second one bare value. With @local no host is connected
to, so that it works while hosts are down; name your inventory instead where that says itself
where the secrets are. A log of this command is a copy of the secrets: let none be kept.
"""

import click
from pyinfra import host, inventory, logger
from pyinfra.api.exceptions import DeployError

import credentials
import plan
from setting_types import SettingsError

plan.refuse_without_secrets("", "the first deploy makes it, or bring it to this machine.")
if plan.first_of([member.name for member in inventory]):
    try:
        text = credentials.shown(plan.secrets(), host.data.get("secret"))
    except SettingsError as error:
        raise DeployError(str(error)) from None
    logger.warning(f"showing secrets on stdout, from {plan.secrets_source().name}")
    click.echo(text, nl=False)
