"""The proofs of a running cluster: operations that ask, record what it proves, and change nothing.

Every question is asked in an operation, so that pyinfra shows what goes on; the answers are judged
by pure functions. A host that is down fails its own proofs and hides no other's.
"""

import time

from pyinfra import host, state
from pyinfra.api import operation

import plan
from cluster import Cluster, Host
from credentials import Secrets
from facts.etcd import EtcdAlarms, EtcdHealth, EtcdMembers, EtcdStatus
from facts.network import OpenPorts
from operations import (
    Commands,
    judgement,
    judgement_access,
    proofs_access,
    proofs_backup,
    proofs_tls,
    report,
    selinux,
)
from operations.judgement import Proof
from platforms import Platform


def deploy(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> None:
    """Prove what can be proven from this host, and report when all hosts are through."""
    if here.is_etcd:
        etcd(name="Prove etcd", cluster=cluster)
    if here.is_postgres:
        patroni(name="Prove Patroni", cluster=cluster)
        proofs_backup.queue(
            name="See what WAL waits", cluster=cluster, here=here, platform=platform
        )
    if here.is_haproxy:
        proofs_access.routing(
            name="Prove routing", cluster=cluster, here=here, platform=platform, secrets=secrets
        )
        proofs_access.address(
            name="Prove the virtual IP",
            cluster=cluster,
            here=here,
            platform=platform,
            secrets=secrets,
        )
    if here.is_repository:
        proofs_access.archiving(name="Prove archiving", cluster=cluster, platform=platform)
        proofs_access.backup(name="Prove backups", cluster=cluster)
        proofs_backup.deploy(cluster)
    proofs_tls.authority(name="Prove the authority", cluster=cluster, secrets=secrets)
    proofs_tls.certificates(
        name="See how good certificates are", cluster=cluster, here=here, secrets=secrets
    )
    if selinux.is_on(platform):
        selinux.asked(name="Ask what SELinux denied")
    ports(name="Try every port from every host", cluster=cluster, here=here)
    report.printed(name="Report", cluster=cluster)


@operation()
def etcd(cluster: Cluster) -> Commands:
    """
    Prove that etcd is healthy, asked from the first etcd host of this run.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        proofs.etcd(name="Prove etcd", cluster=cluster)
    """
    if state.is_executing and plan.first_of([member.name for member in cluster.etcd_members]):
        health = host.get_fact(EtcdHealth, endpoints=cluster.etcd_endpoints) or {}
        # Only those that are well are asked on: a dead one would cost a timeout each time.
        well = ",".join(url for url, is_healthy in health.items() if is_healthy)
        members, status = None, []
        if well:
            members = host.get_fact(EtcdMembers, endpoints=well)
            status = host.get_fact(EtcdStatus, endpoints=well)
        # While there is an alarm nobody is well, and each can tell of it.
        alarms = host.get_fact(EtcdAlarms, endpoints=well or cluster.etcd_endpoints)
        report.record(judgement.etcd(cluster, members, health, status, alarms))
        report.record(judgement.versions(status))
    host.noop("proofs change nothing")
    yield from ()


@operation()
def patroni(cluster: Cluster) -> Commands:
    """
    Prove that one member leads and the others stream, asked from the first database host.

    + cluster: the whole cluster

    What has just come back gets two loops of Patroni, which tells once per loop who confirms.

    **Example:**

    .. code:: python

        proofs.patroni(name="Prove Patroni", cluster=cluster)
    """
    if state.is_executing and plan.first_of([m.name for m in cluster.postgres_members]):
        end = time.monotonic() + 2 * cluster.patroni.loop_wait
        while (proof := _patroni(cluster)).status == "failed" and time.monotonic() < end:
            time.sleep(1)
        report.record(proof)
    host.noop("proofs change nothing")
    yield from ()


def _patroni(cluster: Cluster) -> Proof:
    limit = cluster.verify.maximum_lag_mib
    return judgement.patroni(cluster, proofs_access.views(cluster), limit)


@operation()
def ports(cluster: Cluster, here: Host) -> Commands:
    """
    Try from this host every port that others open, whether it may get through or not.

    + cluster: the whole cluster
    + here: this host

    **Example:**

    .. code:: python

        proofs.ports(name="Try ports", cluster=cluster, here=here)
    """
    targets = judgement_access.targets(cluster, here, report.active())
    if state.is_executing and targets:
        found = host.get_fact(OpenPorts, targets=targets)
        if found is not None:
            report.REACHED[here.name] = found
    host.noop("proofs change nothing")
    yield from ()
