"""Another cluster's repository, as the one host of this cluster sees it that may read it."""

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation

from cluster import Cluster, Host
from decisions import Refusal
from facts.restorable import RestorableBackups
from facts.ssh import SshKeys
from operations import Commands, config_files, ssh_trust
from operations.config_files import File
from operations.peers import ask
from operations.readers import USER
from operations.restore_choice import Place
from operations.restore_start import SOURCE_CONFIG
from platforms import Platform

CLIENT, KNOWN_HOSTS = "/etc/ssh/ssh_config.d/11-pgha-source.conf", "/etc/pgha/source_known_hosts"


def deploy(cluster: Cluster, here: Host, platform: Platform, cores: int) -> None:
    """Let the first database host reach the repository that the settings name."""
    if here.name != reading(cluster).name:
        return
    if cluster.pgbackrest.source:
        ssh_trust.key_made(name="Make the key of a clone", here=here, platform=platform)
    reachable(name="Reach the source of a clone", cluster=cluster, cores=cores)


def reading(cluster: Cluster) -> Host:
    """Return the host that reads the source, and leads when the clone is made."""
    return cluster.postgres_members[0]


@operation()
def reachable(cluster: Cluster, cores: int) -> Commands:
    """
    Write how another cluster's repository is reached; without one, leave nothing of the sort.

    + cluster: the whole cluster
    + cores: of this host

    **Example:**

    .. code:: python

        clone.reachable(name="Source", cluster=cluster, cores=4)
    """
    source, paths = cluster.pgbackrest.source, (SOURCE_CONFIG, CLIENT, KNOWN_HOSTS)
    if source is None:
        if left := [path for path in paths if path in config_files.read([], also=paths)["paths"]]:
            yield StringCommand("rm -f", *map(QuoteString, left))
        else:
            host.noop("this cluster is no clone")
        return
    config = config_files.render(
        "pgbackrest-source.conf.j2",
        source=source,
        user=USER,
        workers=cluster.pgbackrest.workers(cores),
    )
    client = config_files.render(
        "pgbackrest-ssh.conf.j2", addresses=[source.address], known_hosts=KNOWN_HOSTS
    )
    wanted = [
        File(KNOWN_HOSTS, f"{source.known_host}\n"),
        File(CLIENT, client, check="ssh -G -F {} localhost >/dev/null"),
        File(SOURCE_CONFIG, config),
    ]
    different = config_files.differing(wanted, config_files.read(wanted))
    if not different:
        host.noop("the source can be reached")
    yield from config_files.written(different)


def source(cluster: Cluster, platform: Platform) -> Place:
    """Return where to clone from; raises Refusal where nothing can be read there."""
    wanted, reader = cluster.pgbackrest.source, reading(cluster)
    if wanted is None:
        raise Refusal(
            "pgbackrest_source is not set: it is unknown what to make a clone from",
            'see "Make a copy of a cluster" in docs/operations.md.',
        )
    place = Place(wanted.shown, reader.name, wanted.stanza, config=SOURCE_CONFIG, is_lent=True)
    found = ask(
        place.host, RestorableBackups, stanza=place.stanza, repository=1, config=place.config
    )
    if not (found and found["backups"]):
        keys = ask(reader.name, SshKeys, home=platform.postgres_home)
        key = (keys and keys["public_key"]) or "<deploy first: there is no key yet>"
        raise Refusal(
            f"{reader.name} cannot read backups of {place.name}",
            "deploy this cluster with pgbackrest_source, and the other one with\n    "
            f'pgbackrest_readers = [{{"name": "{reader.name}", "address": "{reader.address}",'
            f' "key": "{key}"}}]',
        )
    return place
