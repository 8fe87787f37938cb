"""The hosts of the container testbed, as `testbed/testbed.py up` starts them."""

from pyinfra.api.exceptions import InventoryError as _InventoryError

from testbed.hosts import hosts as _hosts
from testbed.hosts import known_hosts as _known_hosts
from testbed.hosts import selected as _selected
from testbed.hosts import ssh_key as _ssh_key

try:
    _testbed, _nodes = _selected()
except ValueError as _error:
    raise _InventoryError(f"{_error}\nHINT: unset it to get the default.") from None
if not _ssh_key(_testbed).exists():
    raise _InventoryError(
        f"the testbed {_testbed} has never been started\nHINT: run testbed/testbed.py up first."
    )


def _group(name):
    """Return the group as pyinfra wants it; a host carries the same data in each of its groups."""
    return [
        (
            host.name,
            {
                "address": host.address,
                "ssh_hostname": host.address,
                "ssh_user": "deploy",
                "ssh_key": str(_ssh_key(_testbed)),
                "ssh_known_hosts_file": str(_known_hosts(_testbed)),
                "ssh_strict_host_key_checking": "yes",
            },
        )
        for host in _hosts(_testbed, _nodes)
        if name in host.groups
    ]


etcd = _group("etcd")
postgres = _group("postgres")
haproxy = _group("haproxy")
pgbackrest = _group("pgbackrest")
