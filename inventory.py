"""Your hosts. Give each one the address the others reach it at, and how pyinfra logs in.

Every list in this file is a group; nothing else may be a list here. Database nodes that also run
etcd stand in both groups. Several hosts in `haproxy` can share an address (haproxy_virtual_ip).
`_ssh` holds what all hosts share; see pyinfra's SSH connector.
"""

_ssh = {"ssh_user": "deploy"}

_nodes = [
    ("node1", {"address": "10.0.0.11", "ssh_hostname": "10.0.0.11", **_ssh}),
    ("node2", {"address": "10.0.0.12", "ssh_hostname": "10.0.0.12", **_ssh}),
    ("node3", {"address": "10.0.0.13", "ssh_hostname": "10.0.0.13", **_ssh}),
]

etcd = list(_nodes)
postgres = list(_nodes)
haproxy = [("haproxy", {"address": "10.0.0.31", "ssh_hostname": "10.0.0.31", **_ssh})]
pgbackrest = [("pgbackrest", {"address": "10.0.0.41", "ssh_hostname": "10.0.0.41", **_ssh})]
