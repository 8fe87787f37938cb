"""SSH trust between the repository host and every database host, for the postgres user.

Each host makes its own key; the private part never leaves it. Public keys and host keys are read
over the connection that deploys, which is trusted already, and pinned: nothing is scanned from the
network, nothing accepted unseen. Lines end in a mark that tells ours from anybody else's.

A key opens pgBackRest only, from one address (templates/pgha-pgbackrest-only.j2). A host key that
was pinned once is replaced only where somebody says so.
"""

import base64
import binascii
import hashlib
from collections.abc import Collection

from pyinfra import host, logger, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.api.exceptions import ConnectError

from cluster import Cluster, Host
from facts.ssh import Keys, SshKeys
from operations import Commands, config_files, selinux
from operations.config_files import ABOVE, Directory, File
from operations.peers import ask
from platforms import Platform

ONLY_PGBACKREST = "/usr/local/sbin/pgha-pgbackrest-only"
CLIENT = "/etc/ssh/ssh_config.d/10-pgha.conf"
MARK = "pgha:"
# Where the crypto policy forbids ed25519 (FIPS), ssh-keygen refuses it and ecdsa is what is left.
MAKE_KEY = (
    'runuser -u postgres -- sh -c \'cd && ssh-keygen -q -t ed25519 -N "" -f .ssh/id_ed25519'
    ' || ssh-keygen -q -t ecdsa -b 384 -N "" -f .ssh/id_ecdsa\' </dev/null'
)

# What `key_made` has read in this run, by host name, so that peers need not be asked again.
_read: dict[str, Keys] = {}


def deploy(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Let postgres on the repository host and on every database host call pgBackRest on the other.

    `--data ssh_trust_replaced=node2` names hosts that are new machines under an old name.
    """
    if cluster.pgbackrest.transport == "tls":
        return
    replaced = _replaced(cluster)
    key_made(name="Make SSH keys", here=here, platform=platform)
    trusted(
        name="Exchange SSH keys", cluster=cluster, here=here, platform=platform,
        peers=list(cluster.backup_peers(here)), replaced=replaced,
    )  # fmt: skip
    selinux.label(platform, {f"{platform.postgres_home}/.ssh": selinux.SSH})


def end_unless_needed(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Leave no trust where pgBackRest speaks TLS by now, as its configuration says."""
    if cluster.pgbackrest.transport == "tls":
        ended(name="End SSH trust", here=here, platform=platform)


def _replaced(cluster: Cluster) -> list[str]:
    words = str(host.data.get("ssh_trust_replaced") or "").split(",")
    names, known = [word.strip() for word in words if word.strip()], [h.name for h in cluster.hosts]
    for name in names:
        if name not in known:
            raise OperationError(
                f"ssh_trust_replaced names {name}, which is no host of the inventory\n"
                f"    HINT: hosts are {', '.join(known)}."
            )
    return names


@operation()
def key_made(here: Host, platform: Platform) -> Commands:
    """
    Make the postgres user's key pair where there is none, and the user where no package did.

    + here: this host
    + platform: of this host

    **Example:**

    .. code:: python

        ssh_trust.key_made(name="Make SSH keys", here=here, platform=platform)
    """
    home = platform.postgres_home
    keys = host.get_fact(SshKeys, home=home)
    if keys is None:
        raise OperationError(
            f"cannot read the SSH keys of postgres on {here.name}\n    HINT: {ABOVE}"
        )
    if keys["public_key"]:
        host.noop("postgres has a key")
    else:
        yield StringCommand(
            "getent passwd postgres >/dev/null ||"
            " useradd --system --user-group --create-home --shell /bin/bash --home-dir",
            QuoteString(home), "postgres",
        )  # fmt: skip
        yield from config_files.written([Directory(f"{home}/.ssh", "postgres", "postgres", "700")])
        yield StringCommand(MAKE_KEY)
        keys = host.get_fact(SshKeys, home=home)
    if keys:
        _read[here.name] = keys


@operation()
def trusted(
    cluster: Cluster, here: Host, platform: Platform, peers: list[Host], replaced: list[str]
) -> Commands:
    """
    Pin the peers' host keys and accept their postgres users' keys; drop what is no peer's any more.

    + cluster: the whole cluster
    + here: this host
    + platform: of this host, and of its peers
    + peers: the hosts to trust
    + replaced: names of hosts that may show another host key than the one that is pinned

    A peer that is not part of this run and cannot be reached keeps the lines it has.

    **Example:**

    .. code:: python

        ssh_trust.trusted(
            name="Exchange keys",
            cluster=cluster, here=here, platform=platform, peers=[repository], replaced=[],
        )
    """
    mine = _read.get(here.name) or host.get_fact(SshKeys, home=platform.postgres_home)
    if mine is None:
        raise OperationError(
            f"cannot read the SSH keys of postgres on {here.name}\n    HINT: {ABOVE}"
        )
    authorized, known = _foreign(mine["authorized_keys"]), _foreign(mine["known_hosts"])
    for peer in peers:
        mark = f"{MARK}{peer.name}"
        pinned = [line for line in mine["known_hosts"] if line.endswith(f" {mark}")]
        theirs = _keys_of(peer, platform, pinned, replaced)
        if theirs is None:
            authorized += [line for line in mine["authorized_keys"] if line.endswith(f" {mark}")]
            known += pinned
            continue
        address = peer.address if peer.ssh_port == 22 else f"[{peer.address}]:{peer.ssh_port}"
        authorized.append(f"{_limits(peer)} {theirs['public_key']} {mark}")
        known += [f"{address} {key} {mark}" for key in theirs["host_keys"]]
    wanted = _files(cluster, platform, peers, authorized, known)
    different = config_files.differing(wanted, config_files.read(wanted))
    if not different:
        host.noop("the trust files are as they should be")
    yield from config_files.written(different)


@operation()
def ended(here: Host, platform: Platform) -> Commands:
    """
    Take away what `trusted` wrote; lines of others, and the postgres user's own key, stay.

    + here: this host
    + platform: of this host

    **Example:**

    .. code:: python

        ssh_trust.ended(name="End SSH trust", here=here, platform=platform)
    """
    mine = host.get_fact(SshKeys, home=platform.postgres_home)
    if mine is None:
        raise OperationError(
            f"cannot tell what {here.name} has in {platform.postgres_home}/.ssh\n    HINT: {ABOVE}"
        )
    shorter = [
        _lines(platform, name, _foreign(lines))
        for name, lines in (
            ("authorized_keys", mine["authorized_keys"]),
            ("known_hosts", mine["known_hosts"]),
        )
        if lines != _foreign(lines)
    ]
    left = [path for path in (CLIENT, ONLY_PGBACKREST) if path in _there(CLIENT, ONLY_PGBACKREST)]
    yield from config_files.written(shorter)
    if left:
        yield StringCommand("rm -f", *map(QuoteString, left))
    if not (shorter or left):
        host.noop("no SSH key opens pgBackRest")


def _there(*paths: str) -> Collection[str]:
    return config_files.read([], also=paths)["paths"]


def _lines(platform: Platform, name: str, lines: list[str]) -> File:
    content = "".join(f"{line}\n" for line in lines)
    return File(f"{platform.postgres_home}/.ssh/{name}", content, "postgres", "postgres", "600")


def _foreign(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.rpartition(" ")[2].startswith(MARK)]


def _limits(peer: Host) -> str:
    """Return what stands before a peer's key: what it opens, and from where."""
    asker = "repository" if peer.is_repository else "database"
    return f'restrict,command="{ONLY_PGBACKREST} {asker}",from="{peer.address}"'


def _files(
    cluster: Cluster,
    platform: Platform,
    peers: list[Host],
    authorized: list[str],
    known: list[str],
) -> list[File | Directory]:
    """Return all files of the trust; what a key is limited to comes before the key."""
    script = config_files.render("pgha-pgbackrest-only.j2", stanza=cluster.stanza, reader_config="")
    client = config_files.render(
        "pgbackrest-ssh.conf.j2",
        addresses=[p.address for p in peers],
        known_hosts="~/.ssh/known_hosts",
    )
    return [
        File(ONLY_PGBACKREST, script, mode="755"),
        File(CLIENT, client, check="ssh -G -F {} localhost >/dev/null"),
        _lines(platform, "known_hosts", known),
        _lines(platform, "authorized_keys", authorized),
    ]


def _keys_of(peer: Host, platform: Platform, pinned: list[str], replaced: list[str]) -> Keys | None:
    try:
        keys = _read.get(peer.name) or ask(peer.name, SshKeys, home=platform.postgres_home)
    except ConnectError:
        logger.warning(
            "%s%s cannot be reached: its keys stay as they are", host.print_prefix, peer.name
        )
        return None
    if keys and peer.name not in replaced:
        _refuse_another_host(peer, pinned, keys["host_keys"])
    if keys is None or not (keys["public_key"] and keys["host_keys"]):
        if not state.is_executing:
            return None  # made later in the same run
        raise OperationError(
            f"{peer.name} has no SSH key of postgres yet\n"
            f"    HINT: run this once with {peer.name} in it."
        )
    return keys


def _refuse_another_host(peer: Host, pinned: list[str], shown: list[str]) -> None:
    """Refuse a host whose key is not the pinned one; a kind of key more or less is no change."""
    old = dict(line.split()[1:3] for line in pinned)
    new = dict(key.split()[:2] for key in shown)
    both = old.keys() & new.keys()
    if not old or not new or (both and all(old[kind] == new[kind] for kind in both)):
        return
    raise OperationError(
        f"{peer.name} ({peer.address}) shows another SSH host key than the one that {host.name}"
        " has pinned: it was rebuilt, or somebody is in between\n"
        f"    HINT: its key is now {_fingerprint(next(iter(new.values())))}. If its own console"
        " says so too (`ssh-keygen -lf` of /etc/ssh/ssh_host_*_key.pub) and you know why it is new,"
        f" run this with --data ssh_trust_replaced={peer.name}"
    )


def _fingerprint(key: str) -> str:
    """Return a public key's fingerprint as ssh-keygen writes it."""
    try:
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except binascii.Error:
        return "(which is damaged)"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
