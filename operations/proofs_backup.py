"""The proofs of WAL on its way, of the archive, and of what the repository host proves itself."""

import time

from pyinfra import host, state
from pyinfra.api import operation

from cluster import Cluster, Host
from facts.backup_proofs import ProofResults
from facts.pgbackrest import PgbackrestInfo
from facts.restorable import ArchiveListing
from facts.waiting_wal import WalQueue
from operations import Commands, backup_places, judgement_backup, report
from operations.judgement import Proof
from platforms import Platform

# Segments go out side by side, so one may be there before the one before it.
SECONDS_OF_ORDER = 5.0


def deploy(cluster: Cluster) -> None:
    """Prove what the repository host knows of the archive and of restores."""
    gaps(name="Prove the archive", cluster=cluster)
    timed(name="Prove restores", cluster=cluster)


@operation()
def queue(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    See how much WAL waits on this database host, and whether any may be dropped.

    + cluster: the whole cluster
    + here: a database host
    + platform: of that host

    **Example:**

    .. code:: python

        proofs_backup.queue(name="Prove WAL", cluster=cluster, here=here, platform=platform)
    """
    if state.is_executing:
        psql, port = f"{platform.postgresql_bin}/psql", cluster.postgresql.port
        report.WAITING[here.name] = host.get_fact(WalQueue, psql=psql, port=port)
    host.noop("proofs change nothing")
    yield from ()


@operation()
def gaps(cluster: Cluster) -> Commands:
    """
    Prove that the archive has all WAL since the oldest backup.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        proofs_backup.gaps(name="Prove the archive", cluster=cluster)
    """
    if state.is_executing:
        proof = _gaps(cluster)
        if proof.status == "failed":
            time.sleep(SECONDS_OF_ORDER)
            proof = _gaps(cluster)
        report.record(proof)
    host.noop("proofs change nothing")
    yield from ()


@operation()
def timed(cluster: Cluster) -> Commands:
    """
    Prove that the repository was verified and a restore rehearsed, not too long ago.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        proofs_backup.timed(name="Prove restores", cluster=cluster)
    """
    if state.is_executing:
        results = host.get_fact(ProofResults, path=cluster.pgbackrest.metrics_path)
        report.record(judgement_backup.verified(cluster, results, time.time()))
        report.record(judgement_backup.rehearsal(cluster, results, time.time()))
    host.noop("proofs change nothing")
    yield from ()


def _gaps(cluster: Cluster) -> Proof:
    return judgement_backup.gaps(
        host.get_fact(PgbackrestInfo, stanza=cluster.stanza),
        {
            one.name: host.get_fact(
                ArchiveListing, stanza=cluster.stanza, histories=False, repository=number
            )
            for number, one in backup_places.numbered(cluster)
        },
    )
