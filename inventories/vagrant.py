"""The hosts of the Vagrantfile: run `vagrant ssh-config > .vagrant/ssh-config` after `vagrant up`.

How to reach each host (port, user, key) comes from that file; the addresses are those that the
hosts have for one another.
"""

from pathlib import Path as _Path

_vagrant = _Path(__file__).resolve().parent.parent / ".vagrant"
_addresses = {
    "node1": "192.168.56.11",
    "node2": "192.168.56.12",
    "node3": "192.168.56.13",
    "haproxy": "192.168.56.31",
    "pgbackrest": "192.168.56.41",
}


def _group(*names):
    """Return the group as pyinfra wants it; a host carries the same data in each of its groups."""
    return [
        (
            name,
            {
                "address": _addresses[name],
                "ssh_hostname": name,
                "ssh_config_file": str(_vagrant / "ssh-config"),
                # Vagrant's own setting accepts any host key; here the first one seen is pinned.
                "ssh_known_hosts_file": str(_vagrant / "known_hosts"),
                "ssh_strict_host_key_checking": "accept-new",
            },
        )
        for name in names
    ]


etcd = _group("node1", "node2", "node3")
postgres = _group("node1", "node2", "node3")
haproxy = _group("haproxy")
pgbackrest = _group("pgbackrest")
