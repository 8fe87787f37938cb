"""May this host take the cluster? Asked of every host before the first change to any."""

from pyinfra import host, logger, state
from pyinfra.api.exceptions import ConnectError, DeployError

import plan
import platforms
from cluster import Cluster, Host
from facts.hosts import DataDirectory, HostIdentity, Identity, Room
from facts.identities import TrustedAuthorities
from facts.pgbackrest import PgbackrestInfo
from identities import AUTHORITY
from operations import report
from operations.peers import ask
from platforms import Platform

LOST = "The secrets file is lost"


def identify(cluster: Cluster, here: Host) -> tuple[Platform, Identity]:
    """Return the host's platform and what it says of itself; raises DeployError."""
    identity: Identity | None = host.get_fact(HostIdentity, _sudo=False)
    if identity is None:
        raise DeployError(f"{here.name} did not answer\n    HINT: try ssh to it as the same user.")
    if not (identity["sudo"] or state.config.SUDO_PASSWORD):
        raise DeployError(
            f"{here.name}: no sudo without a password\n"
            "    HINT: allow it (NOPASSWD) for the user that deploys, or add --same-sudo-password."
        )
    try:
        platform = platforms.of(identity["os_release"], cluster.postgresql.version)
    except platforms.UnsupportedPlatform as system:
        raise DeployError(
            f"{here.name} runs {system}, which this project does not know\n"
            "    HINT: use Rocky, AlmaLinux or RHEL 8 or 9, or Debian or Ubuntu."
        ) from None
    if identity["addresses"] and here.address not in identity["addresses"]:
        raise DeployError(
            f"{here.address} is not an address of {here.name}, "
            f"which has {', '.join(identity['addresses'])}\n"
            "    HINT: put the right one in the inventory: the others reach it there."
        )
    return platform, identity


def refuse_mixed(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Refuse a host of another system than the others': the first one that answers tells."""
    for other in cluster.hosts:
        if other.name == here.name:
            continue
        try:
            identity = ask(other.name, HostIdentity)
            release = identity["os_release"] if identity else {}
            theirs = platforms.of(release, cluster.postgresql.version)
        except (ConnectError, platforms.UnsupportedPlatform):
            continue  # its own preflight says so, where it is part of the run
        if theirs != platform:
            raise DeployError(
                f"{here.name} runs {platform.name}, and {other.name} runs {theirs.name}\n"
                "    HINT: give all hosts the same release. Replicas and restored copies take over"
                " indexes as they are, and another C library sorts text in another order (its"
                " collations): the indexes would be corrupt."
            )
        return


def look(cluster: Cluster, here: Host) -> Platform | None:
    """Return the host's platform; one that is unfit counts as lost, and hides no other."""
    try:
        return identify(cluster, here)[0]
    except DeployError as error:
        if report.active() == [here.name]:  # nobody would be left to tell
            raise
        logger.error(f"{host.print_prefix}{error}")
        report.lose(*str(error).split("\n    HINT: "))
        return None


def refuse_lost_secrets(cluster: Cluster, here: Host) -> None:
    """Refuse to make secrets up where any host has an authority already (DeployError).

    Hosts outside of the run are asked as well; one that cannot be reached has no say.
    """
    names = [here.name]
    if plan.first_of([member.name for member in cluster.hosts]):
        active = report.active()
        names += [member.name for member in cluster.hosts if member.name not in active]
    for name in names:
        try:
            trusted = ask(name, TrustedAuthorities)
        except ConnectError:
            continue
        if trusted is None:
            raise DeployError(f"cannot tell whom {name} believes\n    HINT: try ssh to it.")
        if trusted:
            raise DeployError(
                f"{name} belongs to a cluster (it has {AUTHORITY}), but there is no secrets file\n"
                f'    HINT: bring it back: docs/operations.md, "{LOST}". Is that cluster given'
                f" up, remove {AUTHORITY} there."
            )


def check(cluster: Cluster, here: Host, platform: Platform, secrets_are_new: bool) -> None:
    """Refuse a database host whose data could be lost or whose disk is too small."""
    path = cluster.postgresql.data_dir
    room: Room | None = host.get_fact(
        DataDirectory, path=path, patroni_config=platform.patroni_config
    )
    if room is None:
        raise DeployError(f"cannot tell what {path} on {here.name} holds")
    if room["restoring"]:
        raise DeployError(
            f"{here.name} is in the middle of a restore, and Patroni must not start on its data\n"
            "    HINT: finish it (day2/restore.py with the same target) or give it up"
            " (day2/restore_undo.py)."
        )
    if room["managed"] and secrets_are_new:
        raise DeployError(
            f"{here.name} belongs to a running cluster, but there is no secrets file\n"
            "    HINT: bring the file back from its copy. Passwords could be made anew, but not the"
            " authority that signed every certificate, nor the passphrase of the backups:"
            f' docs/operations.md, "{LOST}".'
        )
    if room["managed"] and room["scope"] not in ("", cluster.general.name):
        raise DeployError(
            f"{here.name} belongs to the cluster {room['scope']}, not to {cluster.general.name}\n"
            "    HINT: a living cluster keeps its name: set cluster_name back."
        )
    if room["managed"] and room["version"] not in ("", str(cluster.postgresql.version)):
        raise DeployError(
            f"{path} on {here.name} holds PostgreSQL {room['version']}, "
            f"postgresql_version is {cluster.postgresql.version}\n"
            "    HINT: a major upgrade is more than a setting: set postgresql_version back."
        )
    if room["data"] in ("cluster", "other") and not room["managed"]:
        holds = f"PostgreSQL {room['version']} cluster" if room["version"] else "set of other files"
        raise DeployError(
            f"{path} on {here.name} holds a {holds} that Patroni does not manage\n"
            "    HINT: nothing was touched. Move it away, or adopt it: docs/operations.md,"
            ' "A data directory that is not ours".'
        )
    if (
        room["data"] in ("absent", "empty")
        and room["free_mib"] < cluster.postgresql.minimum_free_mib
    ):
        raise DeployError(
            f"{path} on {here.name} has {room['free_mib']} MiB free, less than "
            f"postgresql_minimum_free_mib ({cluster.postgresql.minimum_free_mib})\n"
            "    HINT: give it a larger disk, or lower the setting."
        )
    is_first = plan.first_of([member.name for member in cluster.postgres_members])
    if room["data"] in ("absent", "empty") and is_first and plan.runs("patroni"):
        _refuse_to_begin_anew(cluster, here, platform)


def _refuse_to_begin_anew(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Refuse (DeployError) an empty cluster beside the backups of one that is lost."""
    config = platform.patroni_config
    try:
        for member in cluster.postgres_members:
            if member.name != here.name:
                room = ask(member.name, DataDirectory, path=cluster.postgresql.data_dir,
                           patroni_config=config)  # fmt: skip
                if room is None or room["data"] == "cluster":
                    return
        held = ask(cluster.repository.name, PgbackrestInfo, stanza=cluster.stanza)
    except ConnectError:
        return  # what is away may have data, and Patroni waits for it
    if not held or host.data.get("bootstrap") == "empty":
        return
    if held["unreadable"]:
        raise DeployError(
            f"no database host has data, and {cluster.repository.name} cannot tell whether it has"
            f" backups of {cluster.stanza}: {held['unreadable']}\n"
            "    HINT: mend that first; or begin empty, with --data bootstrap=empty."
        )
    if held["backups"]:
        newest = held["backups"][-1]["label"]
        raise DeployError(
            f"no database host has data, and {cluster.repository.name} has backups of"
            f" {cluster.stanza} (the newest is {newest})\n"
            "    HINT: is all else lost? Add --data bootstrap=empty, and bring it back then:"
            ' docs/operations.md, "Everything but the repository is lost". Or choose another'
            " cluster_name."
        )
