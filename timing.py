"""How soon a fault is noticed: profiles of the settings that have to fit together.

A setting that group_data/all.py leaves at None has its profile's value; any number there wins. It
knows no pyinfra and does no I/O.
"""

from collections.abc import Mapping
from typing import Any

# fast: Patroni takes no ttl below 20 s. The lease is renewed once per loop, so a lost host keeps
# the lead for ttl - loop_wait to ttl, and a crashed PostgreSQL is noticed within a loop. An etcd
# that hangs is given up after loop_wait + 2 * retry_timeout: 7 s before the lease ends, so that
# the primary asks its replicas (failsafe mode) while it still leads.
# relaxed: for networks that lose seconds. etcd advises an election of ten times the round trip.
PROFILES: Mapping[str, Mapping[str, int]] = {
    "fast": {
        "patroni_ttl": 20,
        "patroni_loop_wait": 3,
        "patroni_retry_timeout": 5,
        "etcd_heartbeat_ms": 100,
        "etcd_election_ms": 1000,
        "haproxy_check_ms": 1000,
    },
    "relaxed": {
        "patroni_ttl": 45,
        "patroni_loop_wait": 10,
        "patroni_retry_timeout": 15,
        "etcd_heartbeat_ms": 300,
        "etcd_election_ms": 3000,
        "haproxy_check_ms": 2000,
    },
}


def filled(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings whose None is replaced by what the profile `cluster_timing` says."""
    chosen = values.get("cluster_timing")
    profile = PROFILES.get(chosen, {}) if isinstance(chosen, str) else {}
    unset = {name for name in profile if name in values and values[name] is None}
    return {**values, **{name: profile[name] for name in unset}}
