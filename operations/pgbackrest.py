"""pgBackRest: a repository host that archives WAL at all times and takes backups on timers."""

from collections.abc import Sequence

from pyinfra import host, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from cluster import ARCHIVE_GET, SOCKET_DIR, Cluster, Host
from credentials import Secrets
from facts.component import ComponentState
from facts.pgbackrest import PgbackrestInfo
from identities import AUTHORITY, Identity
from operations import Commands, config_files, selinux
from operations.config_files import Directory, File
from operations.waiting import repeated
from platforms import Platform

UNITS = "/etc/systemd/system"
SERVER = "pgbackrest-server.service"
SERVER_UNIT = f"{UNITS}/{SERVER}"


def configure(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> None:
    """Write pgBackRest's configuration; PostgreSQL archives by it from its first second."""
    if here.is_repository:
        repository(
            name="Configure the repository",
            cluster=cluster,
            here=here,
            platform=platform,
            secrets=secrets,
        )
        selinux.label(platform, {cluster.pgbackrest.repository_path: selinux.DATABASE})
    else:
        database_host(name="Configure WAL archiving", cluster=cluster, here=here, platform=platform)


def deploy(cluster: Cluster) -> None:
    """Make the stanza once there is a primary, and see that there is a backup to start from."""
    stanza(name="Create the stanza and take the first backup", cluster=cluster)


@operation()
def database_host(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Write the configuration by which a database host archives WAL to the repository, and gets it.

    + cluster: the whole cluster
    + here: this host
    + platform: of this host

    **Example:**

    .. code:: python

        pgbackrest.database_host(
            name="Archiving", cluster=cluster, here=here, platform=platform
        )
    """
    content = _rendered("pgbackrest-database.conf.j2", cluster, here)
    archive_get = config_files.render(
        "pgha-archive-get.j2", stanza=cluster.stanza, socket_dir=SOCKET_DIR
    )
    wanted: list[File | Directory] = [
        _directory("/var/spool/pgbackrest"),
        _directory("/var/log/pgbackrest"),
        _configuration(platform, content),
        File(ARCHIVE_GET, archive_get, mode="755"),
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
def repository(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> Commands:
    """
    Write the repository's configuration and the timers of its backups, and start those.

    + cluster: the whole cluster
    + here: this host
    + platform: of this host
    + secrets: the cluster's secrets, the repository's passphrase among them

    **Example:**

    .. code:: python

        pgbackrest.repository(
            name="Repository", cluster=cluster, here=here, platform=platform, secrets=secrets
        )
    """
    content = _rendered(
        "pgbackrest-repository.conf.j2", cluster, here, passphrase=secrets.backup_cipher
    )
    schedules = {
        "full": cluster.pgbackrest.full_schedule,
        "diff": cluster.pgbackrest.diff_schedule,
    }
    service = config_files.render("pgbackrest-backup.service.j2", cluster=cluster)
    timers = [f"pgbackrest-backup@{kind}.timer" for kind in schedules]
    wanted: list[File | Directory] = [
        _directory(cluster.pgbackrest.repository_path),
        _directory("/var/log/pgbackrest"),
        _configuration(platform, content),
        File(f"{UNITS}/pgbackrest-backup@.service", service),
        *(_timer(cluster, kind, schedule) for kind, schedule in schedules.items()),
        *_server(cluster),
    ]
    found = config_files.read(wanted, [*timers, *_server_units(cluster)], also=[SERVER_UNIT])
    different = config_files.differing(wanted, found)
    commands = [*_served(cluster, here, platform, found, different)]
    start = f"systemctl daemon-reload && systemctl enable {' '.join(timers)}"
    start += f" && systemctl restart {' '.join(timers)}"
    if different:
        yield from config_files.written(different, start)
    elif not all(config_files.unit_is_ready(found, timer) for timer in timers):
        yield StringCommand(start)
    elif not commands:
        host.noop("the repository is configured and its timers run")
    yield from commands


@operation()
def stanza(cluster: Cluster) -> Commands:
    """
    Create the stanza, check that WAL arrives, and take a full backup where there is none.

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
    if found["stanza"] and any(backup["type"] == "full" for backup in found["backups"]):
        host.noop("the stanza has a full backup")
        return
    if not found["stanza"]:
        # The primary's archive-push, failing until there is a stanza, holds the lock now and then.
        yield repeated(_pgbackrest(cluster, "stanza-create"), tries=60)
    yield _pgbackrest(cluster, "check")
    host.log("taking the first full backup")
    yield _pgbackrest(cluster, "--type=full backup")


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
    is_stale = changed > found["units"][SERVER]["started"]
    is_changed = any(item.path in read for item in different)
    if is_changed or is_stale or not config_files.unit_is_ready(found, SERVER):
        yield StringCommand(
            f"systemctl daemon-reload && systemctl enable {SERVER} && systemctl restart {SERVER}"
        )


def _pgbackrest(cluster: Cluster, command: str) -> StringCommand:
    return StringCommand(
        "cd / && runuser -u postgres -- pgbackrest --log-level-console=warn --stanza",
        QuoteString(cluster.stanza),
        command,
    )


def _rendered(template: str, cluster: Cluster, here: Host, **more: str) -> str:
    return config_files.render(
        template,
        cluster=cluster,
        here=here,
        peers=[Identity("pgbackrest", peer.name) for peer in cluster.backup_peers(here)],
        identity=Identity("pgbackrest", here.name),
        authority=AUTHORITY,
        socket_dir=SOCKET_DIR,
        **more,
    )


def _directory(path: str) -> Directory:
    return Directory(path, "postgres", "postgres", "750")


def _configuration(platform: Platform, content: str) -> File:
    return File(platform.pgbackrest_config, content, "postgres", "postgres", "640")


def _timer(cluster: Cluster, kind: str, schedule: str) -> File:
    content = config_files.render(
        "pgbackrest-backup.timer.j2", cluster=cluster, kind=kind, schedule=schedule
    )
    path = f"{UNITS}/pgbackrest-backup@{kind}.timer"
    return File(path, content, check=config_files.CALENDAR_CHECK)
