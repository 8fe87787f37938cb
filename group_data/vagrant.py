"""What the small test hosts override; every setting stands in group_data/all.py."""

secrets_file = ".vagrant/secrets.yml"
packages_source = "pgdg"
cluster_client_networks = ["192.168.56.0/24"]
postgresql_minimum_free_mib = 256
postgresql_parameters = {
    "max_connections": 100,
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "archive_timeout": "60s",
    "log_checkpoints": "on",
}
