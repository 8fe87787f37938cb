"""Every setting of the cluster, once. A group file, a host or `--data` can override any of them.

What each one means, its type and its bounds stand in settings.py; an unknown name is refused.
"""

# --- The cluster -------------------------------------------------------------------------------
cluster_name = "pgha"  # Patroni's scope, etcd's token and pgBackRest's stanza
cluster_client_networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]  # may use HAProxy
# What a commit waits for.
#   quorum  one replica: no acknowledged commit is lost. It costs a round trip per commit. Without
#           any replica the primary goes on alone, and what it then takes is lost with it.
#   strict  the same, but without any replica all commits wait.
#   async   nothing: the fastest. A lost primary takes its last moment of commits along.
cluster_durability = "quorum"  # quorum | strict | async
# How soon a fault is noticed; None below means what this profile says (timing.py).
cluster_timing = "fast"  # fast: one LAN | relaxed: slow or distant networks
secrets_file = "secrets.yml"  # made on first use, mode 0600, never in git
# Or a command that prints that document, such as "sops -d secrets.sops.yml"; it runs without a
# shell, and none is made up then. The first of these that is set is taken: the environment's
# PGHA_SECRETS_COMMAND, its PGHA_SECRETS_FILE, secrets_command, secrets_file.
secrets_command = ""

# --- TLS: the cluster's own authority signs a certificate for each service of each host ---------
tls_certificate_days = 90  # a deploy renews what has less than a third of that left
tls_authority_days = 3650

# --- Packages ----------------------------------------------------------------------------------
packages_source = "pgdg"  # pgdg | distribution | none (the hosts' own repositories)
packages_pgdg_apt_url = "https://apt.postgresql.org/pub/repos/apt"
# For a mirror of yours (file:// too), which must have the same folders as these; keys as well.
packages_pgdg_yum_url = "https://download.postgresql.org/pub/repos/yum"
packages_epel_url = "https://dl.fedoraproject.org/pub/epel"
packages_locked = False  # True: no upgrade touches them (dnf versionlock, apt-mark hold)

# --- etcd --------------------------------------------------------------------------------------
etcd_client_port = 2379
etcd_peer_port = 2380
etcd_data_dir = "/var/lib/etcd/pgha"
etcd_heartbeat_ms = None  # fast 100, relaxed 300
etcd_election_ms = None  # fast 1000, relaxed 3000
etcd_quota_mib = 2048
etcd_compaction_retention = "1h"

# --- Patroni: loop_wait + 2 * retry_timeout must be less than ttl ------------------------------
patroni_rest_port = 8008
patroni_namespace = "/service/"
patroni_ttl = None  # fast 20, relaxed 45; so long a lost primary keeps the lead
patroni_loop_wait = None  # fast 3, relaxed 10
patroni_retry_timeout = None  # fast 5, relaxed 15
patroni_maximum_lag_on_failover = 1048576  # async only: bytes that a new primary may lack

# --- PostgreSQL --------------------------------------------------------------------------------
postgresql_version = 18
postgresql_port = 5432
postgresql_data_dir = "/data/pgdata"
postgresql_client_networks = []  # may connect to the members themselves, beside HAProxy
postgresql_minimum_free_mib = 2048
postgresql_max_slot_wal_keep_mib = 4096  # of WAL, kept for a replica that is away; well below free
postgresql_parameters = {
    "max_connections": 200,
    "shared_buffers": "512MB",  # a quarter of the memory is a good start
    "effective_cache_size": "1536MB",  # three quarters
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "lz4",
    "archive_timeout": "60s",  # an idle primary still archives its last writes within a minute
    "log_checkpoints": "on",
    "log_lock_waits": "on",
}

# --- One role and database for the first application -------------------------------------------
app_role = "app"
app_database = "app"

# --- HAProxy -----------------------------------------------------------------------------------
haproxy_rw_port = 5000
haproxy_ro_port = 5001
haproxy_stats_port = 7000  # listens on 127.0.0.1 only
# With several HAProxy hosts: an address that one of them has at a time, for clients to connect to.
haproxy_virtual_ip = None  # such as "10.0.0.30", in the network of the HAProxy hosts
haproxy_check_ms = None  # fast 1000, relaxed 2000; half of that for writes
haproxy_ro_maximum_lag_mib = 64  # a replica that lacks more WAL gets no new readers
haproxy_ro_fallback = "leader"  # leader | none: who is read from when no replica is left
haproxy_max_connections = 4000

# --- PgBouncer, on each HAProxy host: transaction pooling of writes ------------------------------
pgbouncer_port = 6432
pgbouncer_pool_size = 20  # per host, database and role; all together well below max_connections

# --- pgBackRest: calendars are systemd's OnCalendar --------------------------------------------
pgbackrest_transport = "ssh"  # ssh: keys bound to single commands | tls: pgBackRest's own server
pgbackrest_tls_port = 8432  # for tls only
pgbackrest_repository_path = "/data/pgbackrest"
pgbackrest_retention_days = 14  # restorable to any moment of the last so many days
pgbackrest_full_schedule = "Sun 01:00"
pgbackrest_diff_schedule = "Mon..Sat 01:00"  # "" for never, as for incr
pgbackrest_incr_schedule = ""
# Further repositories, which get all WAL and backups of their own: docs/operations.md.
pgbackrest_repositories = []
# For clones: hosts of other clusters that may read the first repository, and the other cluster's
# repository that day2/clone.py makes this cluster a copy of.
pgbackrest_readers = []
pgbackrest_source = None
pgbackrest_process_max = None  # half of a host's cores, two at least
# Proofs of the backups, on the repository host; what came of them is written for node_exporter.
pgbackrest_check_schedule = "*:35"  # is WAL archived, and every host reached?
pgbackrest_verify_schedule = "Wed 03:00"  # reads all that the repository holds
pgbackrest_rehearsal_schedule = "Sat 03:00"  # restores the newest backup, and looks into it
pgbackrest_rehearsal_path = "/data/pgha-rehearsal"  # needs room for the whole cluster's data
# A query in app_database of the restored copy, and what it must answer; "" asks nothing.
pgbackrest_rehearsal_query = ""  # such as "SELECT count(*) > 1000 FROM orders"
pgbackrest_rehearsal_expected = ""  # such as "t"
pgbackrest_metrics_path = "/var/lib/pgha/metrics"  # for --collector.textfile.directory

# --- The proofs --------------------------------------------------------------------------------
verify_maximum_lag_mib = 16
verify_maximum_backup_hours = 30  # since the last backup; longer than the schedules pause
verify_maximum_proof_days = 9  # since the repository was verified, and a restore rehearsed
verify_maximum_waiting_mib = 512  # of WAL that the primary has not archived yet
verify_maximum_waiting_minutes = 10  # since the oldest of it was ready
verify_format = "table"  # table | json
