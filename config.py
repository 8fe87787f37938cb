"""pyinfra's own settings, loaded by pyinfra from the repository root before anything else."""

from os.path import normpath

import click
from gevent.hub import Hub
from pyinfra import config
from pyinfra.api.exceptions import PyinfraError

import plan

config.REQUIRE_PYINFRA_VERSION = ">=3.10,<4"
config.SUDO = True
# The first failure stops a run: going on with the other members is how a quorum is lost.
config.FAIL_PERCENT = 0
# Who only looks at a cluster wants to see what is left of it: a dead host hides no other there.
LOOKS = {"verify.py", "day2/status.py"}

# An operation that refuses to go on raises OperationError. pyinfra prints it in one line at the
# end; without this, gevent would print a traceback for every host before that.
Hub.NOT_ERROR = (*Hub.NOT_ERROR, PyinfraError)

# pyinfra only warns about a --limit without a match or a misspelt inventory, and exits 0; by the
# time deploy.py could object, there is no host left to run it for.
if context := click.get_current_context(silent=True):
    plan.command_line |= context.params
    context.call_on_close(plan.refuse_run_without_hosts)
    if LOOKS.issuperset(map(normpath, context.params["operations"])):
        config.FAIL_PERCENT = 100
