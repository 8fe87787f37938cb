"""What the small test hosts override; every setting stands in group_data/all.py."""

from testbed.hosts import distribution_suffices as _distribution_suffices
from testbed.hosts import mirror_of as _mirror_of
from testbed.hosts import secrets_file as _secrets_file
from testbed.hosts import selected as _selected
from testbed.hosts import virtual_ip as _virtual_ip

_testbed, _ = _selected()

secrets_file = str(_secrets_file(_testbed))
packages_source = "distribution" if _distribution_suffices(_testbed) else "pgdg"
if _mirror := _mirror_of(_testbed):
    packages_pgdg_yum_url, packages_epel_url = f"{_mirror}/pgdg", f"{_mirror}/epel"
cluster_client_networks = ["172.30.0.0/16"]
haproxy_virtual_ip = _virtual_ip(_testbed)
postgresql_minimum_free_mib = 256
postgresql_parameters = {
    "max_connections": 100,
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "archive_timeout": "60s",
    "log_checkpoints": "on",
}
# The tests take hosts away: a check that falls into that hour would fail, and stay failed for one.
pgbackrest_check_schedule = "daily"
