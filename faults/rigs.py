"""A small disk for WAL, and a clock of its own for Patroni: put in place, and taken away again.

For test hosts only: both need a mount or a package that no cluster has.
"""

from collections.abc import Sequence

from faults.site import Site
from faults.steps import in_turn, nothing, shell, switched_over, wait_until

WAL = "/data/pgdata/pg_wal"
FILLER = f"{WAL}/filler"
# Twice max_wal_size of the test hosts, so that only the filler makes it full.
SIZE = "1g"

_MOVED = (
    "set -e; systemctl stop patroni; rm -rf /data/wal; cp -a {wal} /data/wal; {change};"
    " cp -a /data/wal/. {wal}; chown postgres: {wal}; chmod 700 {wal}; rm -rf /data/wal;"
    " systemctl start patroni"
)


def _moved(change: str) -> str:
    return _MOVED.format(wal=WAL, change=change)


ON_SMALL = shell(_moved(f"mount -t tmpfs -o size={SIZE} tmpfs {WAL}"))
ON_ORDINARY = shell(_moved(f"umount {WAL}; find {WAL} -mindepth 1 -delete"))


def small(site: Site, targets: Sequence[str]) -> None:
    """Give the primary a small disk for its WAL: while it is a replica for a moment."""
    (leader,) = targets
    other = next(name for name in site.nodes if name != leader)
    switched_over(site, [other])
    in_turn(ON_SMALL)(site, [leader])
    switched_over(site, [leader])


def ordinary(site: Site, targets: Sequence[str]) -> None:
    """Give back the ordinary one; the member is a replica by then, or becomes one."""
    (small_one,) = targets
    if site.primary() == small_one:
        switched_over(site, [next(name for name in site.nodes if name != small_one)])
    in_turn(ON_ORDINARY)(site, [small_one])


# WAL goes on in segments that are there already, until those are used up.
_FILLED = f"""
dd if=/dev/zero of={FILLER} bs=64k 2>/dev/null
cd /
for _ in $(seq 60); do
    runuser -u postgres -- psql -XAtqc "SELECT pg_logical_emit_message(true, 'pgha', 'full')" \\
        -c 'SELECT pg_switch_wal()' >/dev/null 2>&1 || exit 0
done
echo 'PostgreSQL goes on' >&2
exit 1
"""


def filled(site: Site, targets: Sequence[str]) -> None:
    """Fill the disk to its last byte, and return when PostgreSQL has noticed."""
    shell(_FILLED)(site, targets)


def emptied(site: Site, targets: Sequence[str]) -> None:
    """Remove what fills it."""
    shell(f"rm -f {FILLER}")(site, targets)


_DROPIN = "/run/systemd/system/patroni.service.d/pgha-clock.conf"
# Patroni alone is killed and started again: PostgreSQL goes on, and keeps the clock of all.
_AGAIN = "systemctl daemon-reload; systemctl kill --kill-whom=main --signal=KILL patroni"
_CLOCK = f"""set -e
command -v faketime >/dev/null || apt-get install -y -q faketime >/dev/null 2>&1
library=$(ls /usr/lib/*/faketime/libfaketime.so.1)
echo +0 >/run/pgha-clock
mkdir -p $(dirname {_DROPIN})
cat >{_DROPIN} <<END
[Service]
Environment=LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=/run/pgha-clock
Environment=FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1
END
{_AGAIN}
"""


def clock_of_its_own(site: Site, targets: Sequence[str]) -> None:
    """Let Patroni of each target read a clock that can be stepped."""
    shell(_CLOCK)(site, targets)
    wait_until("a healthy cluster", site.is_healthy)


def clock_of_all(site: Site, targets: Sequence[str]) -> None:
    """Let it read the host's clock again."""
    shell(f"rm -f {_DROPIN} /run/pgha-clock; {_AGAIN}")(site, targets)
    in_turn(nothing)(site, targets)
