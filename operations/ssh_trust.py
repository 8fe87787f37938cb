"""SSH trust between the repository host and every database host, for the postgres user.

Each host makes its own key; the private part never leaves it. Public keys and host keys are read
over the connection that deploys, which is trusted already, and pinned: nothing is scanned from the
network, nothing accepted unseen. Lines end in a mark that tells ours from anybody else's.
"""

from pyinfra import host, logger, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.api.exceptions import ConnectError

from cluster import Cluster, Host
from facts.ssh import Keys, SshKeys
from operations import Commands, config_files
from operations.config_files import ABOVE, Directory, File
from operations.peers import ask
from platforms import Platform

MARK = "pgha:"
# Where the crypto policy forbids ed25519 (FIPS), ssh-keygen refuses it and ecdsa is what is left.
MAKE_KEY = (
    'runuser -u postgres -- sh -c \'cd && ssh-keygen -q -t ed25519 -N "" -f .ssh/id_ed25519'
    ' || ssh-keygen -q -t ecdsa -b 384 -N "" -f .ssh/id_ecdsa\' </dev/null'
)

# What `key_made` has read in this run, by host name, so that peers need not be asked again.
_read: dict[str, Keys] = {}


def deploy(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Let postgres on the repository host and on every database host log in to each other."""
    key_made(name="Make SSH keys", here=here, platform=platform)
    peers = cluster.postgres_members if here.is_repository else (cluster.repository,)
    trusted(name="Exchange SSH keys", here=here, platform=platform, peers=list(peers))


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
def trusted(here: Host, platform: Platform, peers: list[Host]) -> Commands:
    """
    Pin the peers' host keys and accept their postgres users' keys; drop what is no peer's any more.

    + here: this host
    + platform: of this host, and of its peers
    + peers: the hosts to trust

    A peer that is not part of this run and cannot be reached keeps the lines it has.

    **Example:**

    .. code:: python

        ssh_trust.trusted(name="Exchange keys", here=here, platform=platform, peers=[repository])
    """
    mine = _read.get(here.name) or host.get_fact(SshKeys, home=platform.postgres_home)
    if mine is None:
        raise OperationError(
            f"cannot read the SSH keys of postgres on {here.name}\n    HINT: {ABOVE}"
        )
    authorized, known = _foreign(mine["authorized_keys"]), _foreign(mine["known_hosts"])
    for peer in peers:
        theirs, mark = _keys_of(peer, platform), f"{MARK}{peer.name}"
        if theirs is None:
            authorized += [line for line in mine["authorized_keys"] if line.endswith(f" {mark}")]
            known += [line for line in mine["known_hosts"] if line.endswith(f" {mark}")]
            continue
        address = peer.address if peer.ssh_port == 22 else f"[{peer.address}]:{peer.ssh_port}"
        authorized.append(f"restrict {theirs['public_key']} {mark}")
        known += [f"{address} {key} {mark}" for key in theirs["host_keys"]]
    files = [
        _file(platform, name, wanted)
        for name, wanted, now in (
            ("authorized_keys", authorized, mine["authorized_keys"]),
            ("known_hosts", known, mine["known_hosts"]),
        )
        if sorted(wanted) != sorted(now)
    ]
    if not files:
        host.noop("the trust files are as they should be")
    yield from config_files.written(files)


def _foreign(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.rpartition(" ")[2].startswith(MARK)]


def _file(platform: Platform, name: str, lines: list[str]) -> File:
    content = "".join(f"{line}\n" for line in lines)
    return File(f"{platform.postgres_home}/.ssh/{name}", content, "postgres", "postgres", "600")


def _keys_of(peer: Host, platform: Platform) -> Keys | None:
    if peer.name in _read:
        return _read[peer.name]
    try:
        keys = ask(peer.name, SshKeys, home=platform.postgres_home)
    except ConnectError:
        logger.warning(
            "%s%s cannot be reached: its keys stay as they are", host.print_prefix, peer.name
        )
        return None
    if keys is None or not (keys["public_key"] and keys["host_keys"]):
        if not state.is_executing:
            return None  # made later in the same run
        raise OperationError(
            f"{peer.name} has no SSH key of postgres yet\n"
            f"    HINT: run this once with {peer.name} in it."
        )
    return keys
