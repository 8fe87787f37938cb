"""pgBackRest: a repository host that archives WAL at all times and takes backups on timers."""

from collections.abc import Sequence
from typing import Any

from pyinfra import host, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from cluster import ARCHIVE_GET, ARCHIVE_PUSH, REPLICA_FILL, SOCKET_DIR, Cluster, Host
from credentials import Secrets
from facts.component import ComponentState
from facts.pgbackrest import PgbackrestInfo
from identities import AUTHORITY, Identity
from operations import Commands, backup_places, config_files, selinux
from operations.backup_places import UNITS
from operations.config_files import Directory, File
from operations.waiting import repeated
from platforms import Platform

SPOOL = "/var/spool/pgbackrest"
DATABASE_CONF, PUSH_CONFIG = "pgbackrest-database.conf.j2", "/etc/pgha/pgbackrest-push"
SERVER = "pgbackrest-server.service"
SERVER_UNIT = f"{UNITS}/{SERVER}"


def configure(
    cluster: Cluster, here: Host, platform: Platform, secrets: Secrets, cores: int
) -> None:
    """Write pgBackRest's configuration; PostgreSQL archives by it from its first second."""
    if here.is_repository:
        repository(
            name="Configure the repository",
            cluster=cluster,
            here=here,
            platform=platform,
            secrets=secrets,
            cores=cores,
        )
        selinux.label(platform, dict.fromkeys(backup_places.directories(cluster), selinux.DATABASE))
    else:
        database_host(
            name="Configure WAL archiving",
            cluster=cluster,
            here=here,
            platform=platform,
            cores=cores,
        )


def deploy(cluster: Cluster) -> None:
    """Make the stanza once there is a primary, and see that there is a backup to start from."""
    stanza(name="Create the stanza and take the first backup", cluster=cluster)


@operation()
def database_host(cluster: Cluster, here: Host, platform: Platform, cores: int) -> Commands:
    """
    Write the configuration by which a database host archives WAL, and gets it back.

    + cluster: the whole cluster
    + here: this host
    + platform: of this host
    + cores: of this host

    **Example:**

    .. code:: python

        pgbackrest.database_host(
            name="Archiving", cluster=cluster, here=here, platform=platform, cores=4
        )
    """
    archive_get = config_files.render(
        "pgha-archive-get.j2", stanza=cluster.stanza, socket_dir=SOCKET_DIR
    )
    replica_fill = config_files.render(
        "pgha-replica-fill.j2", psql=f"{platform.postgresql_bin}/psql", stanza=cluster.stanza
    )
    numbers = [number for number, _ in backup_places.numbered(cluster)]
    wanted: list[File | Directory] = [
        _directory(SPOOL),
        _directory("/var/log/pgbackrest"),
        _configuration(
            platform,
            _rendered(DATABASE_CONF, cluster, here, cores, numbers=numbers, spool=SPOOL, lock=""),
        ),
        File(ARCHIVE_GET, archive_get, mode="755"),
        File(REPLICA_FILL, replica_fill, mode="755"),
        *_queues(cluster, here, platform, cores),
        *_server(cluster),
    ]
    found = config_files.read(wanted, _server_units(cluster), also=[SERVER_UNIT])
    different = config_files.differing(wanted, found)
    commands = [
        *config_files.written(different),
        *_served(cluster, here, platform, found, different),
    ]
    if not commands:
        host.noop("archiving is configured")
    yield from commands


@operation()
def repository(
    cluster: Cluster, here: Host, platform: Platform, secrets: Secrets, cores: int
) -> Commands:
    """
    Write the repositories' configuration and the timers of their backups, and start those.

    + cluster: the whole cluster
    + here: this host
    + platform: of this host
    + secrets: the cluster's secrets, passphrases and keys of repositories among them
    + cores: of this host

    **Example:**

    .. code:: python

        pgbackrest.repository(
            name="Repository", cluster=cluster, here=here, platform=platform, secrets=secrets,
            cores=4,
        )
    """
    timers = backup_places.timers(cluster)
    files = [*backup_places.key_files(cluster, secrets), *backup_places.units(cluster)]
    wanted: list[File | Directory] = [
        *(_directory(path) for path in backup_places.directories(cluster)),
        _directory("/var/log/pgbackrest"),
        *files,
        *_server(cluster),
        # The last one: while it differs, what a repository that has gone left is looked for.
        _configuration(
            platform,
            _rendered(
                "pgbackrest-repository.conf.j2",
                cluster,
                here,
                cores,
                places=backup_places.options(cluster, secrets),
            ),
        ),
    ]
    never = [f"{UNITS}/{timer}" for timer in backup_places.never(cluster)]
    found = config_files.read(
        wanted, [*timers, *_server_units(cluster)], also=[SERVER_UNIT, *never]
    )
    backup_places.refuse_unmounted(cluster, found)
    different = config_files.differing(wanted, found)
    commands = [*_served(cluster, here, platform, found, different)]
    start = backup_places.only_these(files, timers)
    if different:
        yield from config_files.written(different, start)
    elif any(path in found["paths"] for path in never) or not all(
        config_files.unit_is_ready(found, timer) for timer in timers
    ):
        yield start
    elif not commands:
        host.noop("the repository is configured and its timers run")
    yield from commands


@operation()
def stanza(cluster: Cluster) -> Commands:
    """
    Create the stanza or upgrade it, check that WAL arrives, and take full backups where none is.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        pgbackrest.stanza(name="Create the stanza", cluster=cluster)
    """
    found = host.get_fact(PgbackrestInfo, stanza=cluster.stanza)
    if found is None:
        if state.is_executing:
            raise OperationError(
                f"pgBackRest on {host.name} does not tell what the repository holds\n"
                f"    HINT: run `sudo -u postgres pgbackrest --stanza={cluster.stanza} info` there."
            )
        host.noop("pgBackRest does not answer yet")
        return
    if found["unreadable"]:
        # Nothing is made anew where there may be something, and nobody waits for what is away.
        if state.is_executing and not found["backups"]:
            raise OperationError(
                f"pgBackRest on {host.name} cannot read a repository: {found['unreadable']}\n"
                f"    HINT: run `sudo -u postgres pgbackrest --stanza={cluster.stanza} info` there."
            )
        host.noop(f"a repository is left alone that cannot be read: {found['unreadable']}")
        return
    is_of_another = found["stanza"] and found["version"] != str(cluster.postgresql.version)
    with_backup = {one["repository"] for one in found["backups"] if one["type"] == "full"}
    places = {number: one.name for number, one in backup_places.numbered(cluster)}
    bare = [number for number in places if is_of_another or number not in with_backup]
    if found["stanza"] and not bare:
        host.noop("every repository has a full backup")
        return
    if not found["stanza"]:
        # The primary's archive-push, failing until there is a stanza, holds the lock now and then.
        yield repeated(call(cluster, "stanza-create"), tries=60)
    elif is_of_another:
        yield call(cluster, "stanza-upgrade")
    yield call(cluster, "check")
    for number in bare:
        host.log(f"taking the first full backup of the repository {places[number]}")
        yield call(cluster, f"--repo={number} --type=full backup")


def _queues(cluster: Cluster, here: Host, platform: Platform, cores: int) -> list[File | Directory]:
    """Return what archives WAL: into each of several repositories by itself."""
    wanted: list[File | Directory] = []
    places = list(backup_places.numbered(cluster))
    configs = [f"{PUSH_CONFIG}-{one.name}.conf" for _, one in places if len(places) > 1]
    for path, (number, one) in zip(configs, places, strict=False):
        # By name: a number may be another repository's tomorrow, and what is queued is not.
        spool, lock = f"{SPOOL}/{one.name}", f"{SOCKET_DIR}/pgbackrest-{one.name}"
        content = _rendered(
            DATABASE_CONF, cluster, here, cores, numbers=[number], spool=spool, lock=lock
        )
        wanted += [_directory(spool), File(path, content, "postgres", "postgres", "640")]
    script = config_files.render(
        "pgha-pgbackrest-push.j2",
        stanza=cluster.stanza,
        configs=configs or [platform.pgbackrest_config],
    )
    return [*wanted, File(ARCHIVE_PUSH, script, mode="755")]


def _server(cluster: Cluster) -> list[File]:
    """Return the unit that answers pgBackRest of other hosts, where TLS is the transport."""
    if cluster.pgbackrest.transport != "tls":
        return []
    return [File(SERVER_UNIT, config_files.render("pgbackrest-server.service.j2"))]


def _server_units(cluster: Cluster) -> list[str]:
    return [SERVER] if cluster.pgbackrest.transport == "tls" else []


def _served(
    cluster: Cluster,
    here: Host,
    platform: Platform,
    found: ComponentState,
    different: Sequence[File | Directory],
) -> Commands:
    """Run the server by its present configuration, or none where SSH is the transport."""
    if cluster.pgbackrest.transport != "tls":
        if SERVER_UNIT in found["paths"]:
            # The unit goes last: it tells that something is left.
            directory = QuoteString(Identity("pgbackrest", here.name).directory)
            yield StringCommand(
                "systemctl disable --now", SERVER, "&& rm -rf", directory,
                "&& rm -f", SERVER_UNIT, "&& systemctl daemon-reload",
            )  # fmt: skip
        return
    read = (SERVER_UNIT, platform.pgbackrest_config)
    changed = max(
        (found["paths"][path]["mtime"] for path in read if path in found["paths"]), default=0
    )
    is_stale = changed > found["units"][SERVER]["started"] + config_files.ROUNDED_SECONDS
    is_changed = any(item.path in read for item in different)
    if is_changed or is_stale or not config_files.unit_is_ready(found, SERVER):
        yield StringCommand(
            f"systemctl daemon-reload && systemctl enable {SERVER} && systemctl restart {SERVER}"
        )


def call(cluster: Cluster, command: str) -> StringCommand:
    """Return a call of pgBackRest on the repository host."""
    return StringCommand(
        "cd / && runuser -u postgres -- pgbackrest --log-level-console=warn --stanza",
        QuoteString(cluster.stanza),
        command,
    )


def _rendered(template: str, cluster: Cluster, here: Host, cores: int, **more: Any) -> str:
    return config_files.render(
        template,
        cluster=cluster,
        here=here,
        workers=cluster.pgbackrest.workers(cores),
        peers=[Identity("pgbackrest", peer.name) for peer in cluster.backup_peers(here)],
        identity=Identity("pgbackrest", here.name),
        authority=AUTHORITY,
        socket_dir=SOCKET_DIR,
        **more,
    )


def _directory(path: str) -> Directory:
    return Directory(path, "postgres", "postgres", "750")


def _configuration(platform: Platform, content: str) -> File:
    # For nobody but postgres: the user of other clusters' readers is in its group.
    return File(platform.pgbackrest_config, content, "postgres", "postgres", "600")
