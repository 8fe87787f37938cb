"""What a commit waits for, and what a lost primary may take along: Patroni's keys per level."""

from collections.abc import Mapping
from typing import Any

# The vote of the replicas tells who has every acknowledged commit. A limit in bytes on top of it
# would only forbid a failover after a bulk load, and nothing could ever catch up.
ANY_LAG = 2**62

# quorum: any one replica confirms each commit. Without a replica the primary goes on alone.
# strict: the same, but without a replica commits wait.
# async: no commit waits. A crashed PostgreSQL gets a minute to restart where it is, since only
# there are all its commits; the others fail over at once.
LEVELS: Mapping[str, Mapping[str, Any]] = {
    "quorum": {
        "synchronous_mode": "quorum",
        "synchronous_mode_strict": False,
        "maximum_lag_on_failover": ANY_LAG,
        "primary_start_timeout": 0,
    },
    "strict": {
        "synchronous_mode": "quorum",
        "synchronous_mode_strict": True,
        "maximum_lag_on_failover": ANY_LAG,
        "primary_start_timeout": 0,
    },
    "async": {
        "synchronous_mode": False,
        "synchronous_mode_strict": False,
        "primary_start_timeout": 60,
    },
}
