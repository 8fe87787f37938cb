"""Prove that the cluster is what it should be; changes nothing.

    pyinfra inventory.py verify.py -y
    pyinfra inventory.py verify.py -y --data verify_format=json

Prints a line per proof on stdout and exits non-zero when one fails. docs/operations.md says what
each of them means. What one host cannot tell, another is asked for; a dead host, or one
without sudo, hides nothing.
"""

from pyinfra import host
from pyinfra.api.exceptions import DeployError

import plan
from operations import preflight, proofs

cluster = plan.cluster()
here = cluster.host(host.name)
platform = preflight.look(cluster, here)
if plan.secrets_are_new():
    raise DeployError(
        f"there is no {plan.secrets_path()}, so nobody here knows the application's password\n"
        "    HINT: deploy first, or bring the file to this machine."
    )

if platform:
    proofs.deploy(cluster, here, platform, plan.secrets())
