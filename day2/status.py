"""Show the cluster: who leads, where to connect, what was backed up last; changes nothing.

pyinfra inventory.py day2/status.py -y
"""

import plan
from operations import summary

summary.deploy(plan.cluster())
