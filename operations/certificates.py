"""Keys that are made where they are used, and the certificates that vouch for them.

The request goes out over the connection that deploys, and the certificate comes back by it.
"""

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.api.exceptions import DeployError

import authorities
from certificates import CertificateError, flaw, sign, utc_now
from cluster import Cluster, Host
from credentials import Secrets
from facts.component import ComponentState
from facts.handshakes import Handshakes
from facts.identities import Identities, Shown, TrustedAuthorities
from identities import AUTHORITY, Identity
from operations import Commands, config_files
from operations.config_files import Directory, File
from operations.pgbackrest import SERVER
from operations.waiting import wait_until
from setting_types import SettingsError

# Two loops of Patroni; and a busy postmaster reads its files when it comes to it.
NOTICED_SECONDS, TAKEN_OVER_SECONDS = 20.0, 120.0


def deploy(cluster: Cluster, here: Host, secrets: Secrets, renew: bool = False) -> None:
    """Let every service of this host prove who it is, and know whom to believe."""
    issued(name="Issue certificates", cluster=cluster, here=here, secrets=secrets, renew=renew)
    if cluster.identities(here):
        taken_over(name="Show the new certificates", cluster=cluster, here=here)


def refuse_unfit(secrets: Secrets) -> None:
    """Refuse (DeployError) an authority that has ended, or whose key is not its own."""
    try:
        authorities.check(secrets.authority, utc_now())
    except SettingsError as error:
        raise DeployError(str(error)) from None


@operation()
def issued(cluster: Cluster, here: Host, secrets: Secrets, renew: bool = False) -> Commands:
    """
    Give this host's services keys, and certificates for them, where need be.

    + cluster: the whole cluster
    + here: this host
    + secrets: the cluster's secrets, its authority among them
    + renew: replace every certificate, however good it is

    Each certificate has a key of its own: a stolen key is of no use with the next certificate.
    A certificate is replaced when it ends soon, or is not what the settings and the authority say;
    and when it is older than the file of whom to believe: Patroni reads that again only with a new
    certificate (4.1.5, `reload_local_certificate`).

    **Example:**

    .. code:: python

        certificates.issued(name="Issue", cluster=cluster, here=here, secrets=secrets)
    """
    wanted: list[File | Directory] = [File(AUTHORITY, secrets.authority.certificate)]
    identities = cluster.identities(here)
    found = config_files.read(wanted, also=[one.certificate for one in identities])
    different = config_files.differing(wanted, found)
    there = _shown([one.directory for one in identities])
    if different and AUTHORITY in found["paths"]:
        _refuse_to_go_back(secrets, there)
    yield from config_files.written(different)
    is_good = not different
    for identity in identities:
        shown = there[identity.directory]
        why = flaw(
            shown["certificate"], shown["request"], secrets.authority, identity.subject, utc_now()
        )
        if different or is_older(found, identity):
            why = why or "whom to believe has changed"
        if renew:
            why = why or "it was asked for"
        if why:
            is_good = False
            host.log(f"new key and certificate for {identity.subject.name}: {why}")
            yield from _anew(cluster, identity, secrets)
        elif shown["access"] != f"600 {identity.owner}":
            is_good = False
            yield _closed(identity, identity.key)
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
        try:
            _wait_until_shown(cluster, here, one, NOTICED_SECONDS)
        except OperationError:
            # Patroni 4.1.5 forgets the certificate when a reload brings another change as well.
            yield _reload(cluster, one)
            _wait_until_shown(cluster, here, one, TAKEN_OVER_SECONDS)


def outdated(cluster: Cluster, here: Host, identity: Identity) -> list[int]:
    """Return the ports of this host that show another certificate of `identity` than the disk's."""
    ports = cluster.servers(identity)
    if not ports:
        return []
    said = host.get_fact(
        Handshakes, address=here.address, directory=identity.directory, ports=ports
    )
    if said is None:
        raise OperationError(
            f"cannot tell what {identity.subject.name} shows\n    HINT: {config_files.ABOVE}"
        )
    good = ("none", said["file"]["certificate"])
    return [port for port in ports if said[str(port)]["certificate"] not in good]


def _wait_until_shown(cluster: Cluster, here: Host, identity: Identity, seconds: float) -> None:
    wait_until(
        f"the services of {identity.subject.name} to show their new certificate",
        lambda: not outdated(cluster, here, identity),
        seconds,
        "look at the services' journal there.",
    )


def _reload(cluster: Cluster, identity: Identity) -> StringCommand:
    if identity.service == "pgbackrest":
        return StringCommand(f"systemctl reload {SERVER}")
    if identity.service == "pgbouncer":
        return StringCommand("systemctl reload pgbouncer.service")
    # Patroni's own reload reaches PostgreSQL a loop later; this one reaches it now.
    pid_file = QuoteString(f"{cluster.postgresql.data_dir}/postmaster.pid")
    return StringCommand(
        "systemctl reload patroni.service && if [ -f", pid_file,
        # As postgres: whoever has that number by now, root hangs up on nobody else.
        "]; then runuser -u postgres -- kill -HUP $(head -n 1", pid_file, "); fi",
    )  # fmt: skip


def is_older(found: ComponentState, identity: Identity) -> bool:
    """Say whether a certificate was there before the present file of whom to believe."""
    certificate, authority = found["paths"].get(identity.certificate), found["paths"].get(AUTHORITY)
    return bool(certificate and authority and certificate["mtime"] < authority["mtime"])


def _refuse_to_go_back(secrets: Secrets, there: dict[str, Shown]) -> None:
    trusted: str | None = host.get_fact(TrustedAuthorities)
    if trusted is None:
        raise OperationError(
            f"cannot tell whom {host.name} believes\n    HINT: {config_files.ABOVE}"
        )
    if stranger := authorities.ahead(trusted, secrets.authority):
        raise _gone_on(f"trusts a newer authority, {stranger}")
    if any(authorities.is_next(one["certificate"], secrets.authority) for one in there.values()):
        raise _gone_on("has certificates of the next authority already")


def _gone_on(what: str) -> OperationError:
    return OperationError(
        f"{host.name} {what}: the secrets here are from before it was made\n"
        "    HINT: bring the present ones here. Is that authority to be given up, take its"
        f" certificate out of {AUTHORITY} there."
    )


def _shown(directories: Sequence[str]) -> dict[str, Shown]:
    if not directories:
        return {}
    found: dict[str, Shown] | None = host.get_fact(Identities, directories=list(directories))
    if found is None:
        raise OperationError(
            f"cannot tell what {host.name} has in {', '.join(directories)}\n"
            f"    HINT: {config_files.ABOVE}"
        )
    return found


def _closed(identity: Identity, key: str) -> StringCommand:
    """Return the command that lets nobody but the service's user read a key."""
    owner = QuoteString(identity.owner)
    return StringCommand("chown", owner, QuoteString(key), "&& chmod 600", QuoteString(key))


def _anew(cluster: Cluster, identity: Identity, secrets: Secrets) -> Commands:
    """Make a key beside the present one; then key and certificate take their places together."""
    beside = f"{identity.directory}/next"
    key, directory = QuoteString(f"{beside}/tls.key"), QuoteString(beside)
    owned = StringCommand("install -d -o", QuoteString(identity.owner), "-m 700")
    yield StringCommand(
        owned, QuoteString(identity.directory), directory,
        "&& (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        " -out", key, ") &&", _closed(identity, f"{beside}/tls.key"),
    )  # fmt: skip
    request, days = _shown([beside])[beside]["request"], cluster.tls.certificate_days
    try:
        pem = sign(secrets.authority, request, identity.subject, days, utc_now())
    except CertificateError as error:
        raise OperationError(f"{error}\n    HINT: remove {beside} there.") from None
    yield from config_files.written(
        [File(identity.certificate, pem, identity.owner, "root", "644")],
        StringCommand("mv -f", key, QuoteString(identity.key), "&& rm -rf", directory),
    )
