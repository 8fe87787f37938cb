"""Proofs of the backups on timers: pgBackRest's check and verify, and a rehearsed restore."""

import re
import shlex
import time

import click
from pyinfra import host, state
from pyinfra.api import OperationError, StringCommand, operation

import plan
from cluster import Cluster
from credentials import Secrets
from facts.backup_proofs import ProofResults
from operations import Commands, backup_places, config_files, judgement_backup
from operations.config_files import Directory, File
from platforms import Platform

PROOF, REHEARSAL = "/usr/local/bin/pgha-proof", "/usr/local/bin/pgha-rehearsal"
REHEARSAL_CONFIG = "/etc/pgha/pgbackrest-rehearsal.conf"
TIMERS = [f"pgha-proof@{job}.timer" for job in judgement_backup.JOBS]


def deploy(cluster: Cluster, platform: Platform, secrets: Secrets, cores: int) -> None:
    """Let the repository host prove its backups by itself."""
    timed(
        name="Prove backups on timers",
        cluster=cluster,
        platform=platform,
        secrets=secrets,
        cores=cores,
    )


@operation()
def timed(cluster: Cluster, platform: Platform, secrets: Secrets, cores: int) -> Commands:
    """
    Write what proves the backups and rehearses their restore, start its timers, and a first run.

    + cluster: the whole cluster
    + platform: of this host
    + secrets: the cluster's secrets, the repository's passphrase among them
    + cores: of this host

    **Example:**

    .. code:: python

        backup_proofs.timed(
            name="Timers", cluster=cluster, platform=platform, secrets=secrets, cores=4
        )
    """
    wanted = _wanted(cluster, platform, secrets, cores)
    found = config_files.read(wanted, TIMERS)
    different = config_files.differing(wanted, found)
    timers, told = " ".join(TIMERS), f"{cluster.pgbackrest.metrics_path}/pgha_proof_$job.prom"
    start = (
        f"systemctl daemon-reload && systemctl enable {timers} && systemctl restart {timers}"
        # Nobody waits a week for the first word, nor this run for a large backup.
        f" && for job in verify rehearsal; do [ -e {told} ]"
        " || systemctl start --no-block pgha-proof@$job; done"
    )
    if different:
        yield from config_files.written(different, start)
    elif not all(config_files.unit_is_ready(found, timer) for timer in TIMERS):
        yield StringCommand(start)
    else:
        host.noop("the timers of the proofs run")


@operation()
def rehearsed(cluster: Cluster) -> Commands:
    """
    Rehearse a restore of the newest backup now, and show what came of it.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        backup_proofs.rehearsed(name="Rehearse a restore", cluster=cluster)
    """
    unit = "pgha-proof@rehearsal.service"
    # Its own words end up in the journal: those of this run are shown where it fails.
    yield StringCommand(
        f"began=$(date '+%F %T'); systemctl start {unit}"
        f' || {{ journalctl --no-pager -q -o cat -n 40 --since "$began" -u {unit} >&2; exit 1; }}'
    )
    if not state.is_executing:
        return
    path = cluster.pgbackrest.metrics_path
    proof = judgement_backup.rehearsal(cluster, host.get_fact(ProofResults, path=path), time.time())
    if proof.status != "ok":
        raise OperationError(f"{proof.evidence}\n    HINT: {proof.hint}")
    click.echo(proof.evidence, err=bool(plan.command_line.get("json_output")))


def _wanted(
    cluster: Cluster, platform: Platform, secrets: Secrets, cores: int
) -> list[File | Directory]:
    settings = cluster.pgbackrest
    config = config_files.render(
        "pgbackrest-reading.conf.j2",
        cluster=cluster,
        what="a rehearsal",
        passphrase=secrets.backup_cipher,
        workers=cluster.pgbackrest.workers(cores),
        data_dir=f"{settings.rehearsal_path}/data",
    )
    numbers = [number for number, _ in backup_places.numbered(cluster)]
    proof = config_files.render(
        "pgha-proof.j2", cluster=cluster, rehearsal=REHEARSAL, numbers=numbers
    )
    service = config_files.render("pgha-proof.service.j2", cluster=cluster, proof=PROOF)
    schedules = {
        "check": settings.check_schedule,
        "verify": settings.verify_schedule,
        "rehearsal": settings.rehearsal_schedule,
    }
    return [
        Directory(settings.rehearsal_path, "postgres", "postgres", "700"),
        # node_exporter reads it, as a user of its own.
        Directory(settings.metrics_path, "postgres", "postgres"),
        File(REHEARSAL_CONFIG, config, "postgres", "postgres", "600"),
        File(REHEARSAL, _rehearsal(cluster, platform), mode="755"),
        File(PROOF, proof, mode="755"),
        File(f"{backup_places.UNITS}/pgha-proof@.service", service),
        *(_timer(cluster, job, schedules[job]) for job in judgement_backup.JOBS),
    ]


def _rehearsal(cluster: Cluster, platform: Platform) -> str:
    return config_files.render(
        "pgha-rehearsal.j2",
        cluster=cluster,
        bin=platform.postgresql_bin,
        config=REHEARSAL_CONFIG,
        wal_mib=2 * mebibytes(str(cluster.postgresql.parameters.get("max_wal_size", "1GB"))),
        query=shlex.quote(cluster.pgbackrest.rehearsal_query),
        expected=shlex.quote(cluster.pgbackrest.rehearsal_expected),
    )


def mebibytes(size: str) -> int:
    """Return a size of postgresql.conf in MiB, rounded up; a bare number is in MiB already."""
    found = re.fullmatch(r"'?\s*(\d+)\s*(B|kB|MB|GB|TB)?\s*'?", size)
    if not found:
        raise OperationError(
            f"max_wal_size in postgresql_parameters cannot be {size!r}\n"
            "    HINT: a number and a unit, such as 2GB."
        )
    bytes_of = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
    return -(-int(found[1]) * bytes_of[found[2] or "MB"] // (1 << 20))


def _timer(cluster: Cluster, job: str, schedule: str) -> File:
    content = config_files.render(
        "pgha-proof.timer.j2", cluster=cluster, job=job, schedule=schedule
    )
    return File(
        f"{backup_places.UNITS}/pgha-proof@{job}.timer", content, check=config_files.CALENDAR_CHECK
    )
