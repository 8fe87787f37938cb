"""How long each thing may take in the e2e tests, in seconds: generous, for slow machines.

They bound a hang, they measure nothing: figures come from bench/.
"""

TESTBED_UP = 600
DEPLOY = 600
COMMAND = 120
SERVICE_BACK = 120
FAILOVER = 120  # patroni_ttl is 20 s; the rest is for a busy machine
REJOIN = 300
ARCHIVED = 120
