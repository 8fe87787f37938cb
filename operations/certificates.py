"""Keys that are made where they are used, and the certificates that vouch for them.

The request goes out over the connection that deploys, and the certificate comes back by it.
"""

from functools import partial

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from certificates import CertificateError, flaw, sign, utc_now
from cluster import Cluster, Host
from credentials import Secrets
from facts.identities import Identities, Shown
from facts.shown_certificates import OutdatedServers
from identities import AUTHORITY, Identity
from operations import Commands, config_files
from operations.config_files import Directory, File
from operations.pgbackrest import SERVER
from operations.waiting import wait_until

# A busy postmaster reads its files when it comes to it.
TAKEN_OVER_SECONDS = 120.0


def deploy(cluster: Cluster, here: Host, secrets: Secrets, renew: bool = False) -> None:
    """Let every service of this host prove who it is, and know whom to believe."""
    issued(name="Issue certificates", cluster=cluster, here=here, secrets=secrets, renew=renew)
    if cluster.identities(here):
        taken_over(name="Show the new certificates", cluster=cluster, here=here)


@operation()
def issued(cluster: Cluster, here: Host, secrets: Secrets, renew: bool = False) -> Commands:
    """
    Make the keys of this host's services where there are none, and certify them where need be.

    + cluster: the whole cluster
    + here: this host
    + secrets: the cluster's secrets, its authority among them
    + renew: replace every certificate, however good it is

    A certificate is replaced when it ends soon, or is not what the settings and the authority say.

    **Example:**

    .. code:: python

        certificates.issued(name="Issue", cluster=cluster, here=here, secrets=secrets)
    """
    wanted: list[File | Directory] = [File(AUTHORITY, secrets.authority.certificate)]
    different = config_files.differing(wanted, config_files.read(wanted))
    is_good = not different
    yield from config_files.written(different)
    for identity in cluster.identities(here):
        shown = _shown(identity)
        if not shown["request"] or shown["access"] != f"600 {identity.owner}":
            is_good = False
            yield _make_key(identity, shown)
            shown = _shown(identity)
        why = flaw(
            shown["certificate"], shown["request"], secrets.authority, identity.subject, utc_now()
        )
        if renew:
            why = why or "it was asked for"
        if why:
            is_good = False
            host.log(f"new certificate for {identity.subject.name}: {why}")
            yield from _certificate(cluster, identity, shown, secrets)
    if is_good:
        host.noop("all certificates are good")


@operation()
def taken_over(cluster: Cluster, here: Host) -> Commands:
    """
    Let every service show the certificate on the disk, without a restart.

    + cluster: the whole cluster
    + here: this host

    etcd needs nothing: it reads its certificate at each handshake. Whatever a run that was killed
    left undone is seen, since the servers themselves are asked.

    **Example:**

    .. code:: python

        certificates.taken_over(name="Show", cluster=cluster, here=here)
    """
    late = [one for one in cluster.identities(here) if outdated(cluster, here, one)]
    if not late:
        host.noop("what is on the disk is shown")
    for one in late:
        yield _reload(cluster, one)
        wait_until(
            f"the services of {one.subject.name} to show their new certificate",
            partial(_is_shown, cluster, here, one),
            TAKEN_OVER_SECONDS,
            "look at the services' journal there.",
        )


def outdated(cluster: Cluster, here: Host, identity: Identity) -> list[int]:
    """Return the ports of this host that show another certificate of `identity` than the disk's."""
    ports = cluster.servers(identity)
    if not ports:
        return []
    found: list[int] | None = host.get_fact(
        OutdatedServers, certificate=identity.certificate, address=here.address, ports=ports
    )
    return found or []


def _is_shown(cluster: Cluster, here: Host, identity: Identity) -> bool:
    return not outdated(cluster, here, identity)


def _reload(cluster: Cluster, identity: Identity) -> StringCommand:
    if identity.service == "pgbackrest":
        return StringCommand(f"systemctl reload {SERVER}")
    # Patroni's own reload reaches PostgreSQL a loop later; this one reaches it now.
    pid_file = QuoteString(f"{cluster.postgresql.data_dir}/postmaster.pid")
    return StringCommand(
        "systemctl reload patroni.service && if [ -f", pid_file,
        "]; then kill -HUP $(head -n 1", pid_file, "); fi",
    )  # fmt: skip


def _shown(identity: Identity) -> Shown:
    found: dict[str, Shown] | None = host.get_fact(Identities, directories=[identity.directory])
    if found is None:
        raise OperationError(
            f"cannot tell what {host.name} has in {identity.directory}\n"
            f"    HINT: {config_files.ABOVE}"
        )
    return found[identity.directory]


def _make_key(identity: Identity, shown: Shown) -> StringCommand:
    """Return the command that makes a key, or only mends who may read the one that is there."""
    owner, key = QuoteString(identity.owner), QuoteString(identity.key)
    mend = StringCommand("chown", owner, key, "&& chmod 600", key)
    if shown["request"]:
        return mend
    staged = QuoteString(f"{identity.key}.pgha-new")
    return StringCommand(
        "install -d -o", owner, "-m 700", QuoteString(identity.directory),
        "&& (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        " -out", staged, ") && mv -f", staged, key, "&&", mend,
    )  # fmt: skip


def _certificate(cluster: Cluster, identity: Identity, shown: Shown, secrets: Secrets) -> Commands:
    days = cluster.tls.certificate_days
    try:
        pem = sign(secrets.authority, shown["request"], identity.subject, days, utc_now())
    except CertificateError as error:
        raise OperationError(f"{error}\n    HINT: remove {identity.key} there.") from None
    yield from config_files.written(
        [File(identity.certificate, pem, identity.owner, "root", "644")]
    )
