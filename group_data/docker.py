"""What the small test hosts override; every setting stands in group_data/all.py."""

secrets_file = "testbed/.state/secrets.yml"
packages_source = "distribution"
cluster_client_networks = ["172.30.0.0/16"]
postgresql_minimum_free_mib = 256
postgresql_parameters = {
    "max_connections": 100,
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "archive_timeout": "60s",
    "log_checkpoints": "on",
}
