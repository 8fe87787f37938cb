"""Hosts of other clusters that may read this repository, to make a clone, and never write to it.

They come over SSH as a user of their own. It is in the group postgres, which may read what lies in
the repository; only the user postgres may write there, whatever a caller makes pgBackRest do.
"""

from pyinfra import host
from pyinfra.api import StringCommand, operation

from cluster import Cluster
from credentials import Secrets
from operations import Commands, config_files, selinux
from operations.config_files import Directory, File
from platforms import Platform

USER, HOME = "pgha-reader", "/var/lib/pgha-reader"
CONFIG = "/etc/pgha/pgbackrest-reader.conf"
SCRIPT = "/usr/local/sbin/pgha-pgbackrest-reader"


def deploy(cluster: Cluster, platform: Platform, secrets: Secrets) -> None:
    """Let those in that the settings name, and nobody else."""
    admitted(name="Let other clusters read the repository", cluster=cluster, secrets=secrets)
    if cluster.pgbackrest.readers:
        selinux.label(platform, {f"{HOME}/.ssh": selinux.SSH})


@operation()
def admitted(cluster: Cluster, secrets: Secrets) -> Commands:
    """
    Let the readers in that the settings name; without any, leave nothing of the sort.

    + cluster: the whole cluster
    + secrets: the cluster's secrets, the repository's passphrase among them

    **Example:**

    .. code:: python

        readers.admitted(name="Readers", cluster=cluster, secrets=secrets)
    """
    if not cluster.pgbackrest.readers:
        if not config_files.read([], also=[HOME])["paths"]:
            host.noop("no other cluster may read the repository")
            return
        # The home goes with its user, and last: it tells that something is left.
        yield StringCommand(
            f"rm -rf {HOME}/.ssh {CONFIG} {SCRIPT} && {{ ! getent passwd {USER} >/dev/null ||"
            f" {{ pkill -KILL -u {USER}; userdel {USER}; }}; }} && rm -rf {HOME}"
        )
        return
    wanted = _wanted(cluster, secrets)
    found = config_files.read(wanted)
    different = config_files.differing(wanted, found)
    if not different:
        host.noop("other clusters may read the repository")
        return
    # A locked password is one that sshd refuses with all its keys, where PAM is off; `*` is none.
    yield StringCommand(
        f"getent passwd {USER} >/dev/null || useradd --system --gid postgres --no-create-home"
        f" --home-dir {HOME} --shell /bin/sh --password '*' {USER}"
    )
    yield from config_files.written(different)


def _wanted(cluster: Cluster, secrets: Secrets) -> list[File | Directory]:
    """Return all of it; what a key is limited to comes before the key."""
    config = config_files.render(
        "pgbackrest-reading.conf.j2",
        cluster=cluster,
        what="a host of another cluster",
        passphrase=secrets.backup_cipher,
        workers=1,
        data_dir="",
    )
    script = config_files.render(
        "pgha-pgbackrest-only.j2", stanza=cluster.stanza, reader_config=CONFIG
    )
    keys = "".join(
        f'restrict,command="{SCRIPT} reader",from="{one.address}" {one.key} {one.name}\n'
        for one in cluster.pgbackrest.readers
    )
    # Its own files are not its own: whoever comes as this user changes nothing.
    return [
        Directory(HOME, "root", "postgres", "750"),
        Directory(f"{HOME}/.ssh", "root", "postgres", "750"),
        File(CONFIG, config, "root", "postgres", "640"),
        File(SCRIPT, script, mode="755", check="sh -n {}"),
        File(f"{HOME}/.ssh/authorized_keys", keys, "root", "postgres", "640"),
    ]
