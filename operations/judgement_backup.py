"""What the facts prove of WAL on its way, of the archive as a whole, and of the backups' proofs."""

from collections.abc import Mapping
from datetime import UTC, datetime

import wal
from cluster import Cluster
from facts.backup_proofs import ProofResult
from facts.pgbackrest import Repository
from facts.waiting_wal import LIMIT, WaitingWal
from operations.judgement import Proof, proof
from operations.judgement_access import age
from recovery import Archive

# What the repository host proves by itself, as instances of pgha-proof@.service.
JOBS = ("check", "verify", "rehearsal")


# --- WAL on its way ---------------------------------------------------------------------------


def queue(cluster: Cluster, waiting: Mapping[str, WaitingWal | None]) -> Proof:
    """No WAL waits longer than it should to be archived, and none may be dropped for waiting.

    + waiting: by the name of the database host; None for one that does not tell
    """
    told = {name: found for name, found in waiting.items() if found is not None}
    faults = [f"{name} does not tell what waits there" for name in waiting if name not in told]
    for name, found in told.items():
        places = ", ".join(found["limits"])
        if places:
            faults.append(f"{name} drops WAL that waits: {LIMIT} is set in {places}")
        if found["bytes"] is None:
            faults.append(f"PostgreSQL on {name} does not answer")
        if found["is_primary"]:
            faults += _queue_faults(cluster, name, found)
    primaries = [name for name, found in told.items() if found["is_primary"]]
    if not (primaries or faults):
        return Proof("queue", "skipped", "no primary among the hosts of this run")
    good = ", ".join(
        f"{(told[name]['bytes'] or 0) >> 20} MiB of WAL wait on {name}" for name in primaries
    )
    hint = (
        "look at pg_stat_archiver and /var/log/pgbackrest there. While the repository is away WAL"
        f" has to wait on the primary: without {LIMIT} none is lost."
    )
    return proof("queue", f"{good}, and none is dropped", faults, hint)


def _queue_faults(cluster: Cluster, name: str, found: WaitingWal) -> list[str]:
    limits, faults = cluster.verify, []
    size, minutes = (found["bytes"] or 0) >> 20, found["seconds"] // 60
    if size > limits.maximum_waiting_mib:
        allowed = limits.maximum_waiting_mib
        faults.append(f"{size} MiB of WAL wait on {name}, and {allowed} MiB are allowed")
    if minutes > limits.maximum_waiting_minutes:
        allowed = limits.maximum_waiting_minutes
        faults.append(f"WAL waits for {minutes} min on {name}, and {allowed} min are allowed")
    if faults and found["failing"]:
        faults.append(f"archiving {found['failing']} fails there")
    return faults


# --- the archive ------------------------------------------------------------------------------


def gaps(repository: Repository | None, archives: Mapping[str, Archive | None]) -> Proof:
    """Each archive has every segment since its oldest backup began, over all timelines.

    + archives: what each repository has of WAL, by its name, in the order of pgBackRest's numbers
    """
    faults, good = [], []
    for number, (name, archive) in enumerate(archives.items(), 1):
        prefix = f"{name}: " if len(archives) > 1 else ""
        backups = repository["backups"] if repository else []
        begins = [b["first_wal"] for b in backups if b["first_wal"] and b["repository"] == number]
        first = min(begins, default="")
        if archive is None or not first:
            what = "what the archive holds" if first else "which WAL the backups need"
            faults.append(f"{prefix}pgBackRest does not tell {what}")
            continue
        begin = wal.number_of(first)
        kept = [name for name in archive.segments if name >= first and wal.number_of(name) >= begin]
        faults += [f"{prefix}{fault}" for fault in wal.missing(first, kept)]
        timelines = len({name[:8] for name in kept})
        of = f"{timelines} timeline{'s' if timelines != 1 else ''}"
        good.append(f"{prefix}{len(kept)} segments on {of}, no gap since {first}")
    hint = (
        "backups before a gap recover up to it and no further: `systemctl start"
        " pgbackrest-backup@full` takes one after it. A member may still have the segment: see"
        ' docs/operations.md, "A proof of the backups failed".'
    )
    return proof("gaps", "; ".join(good), faults, hint)


# --- proofs that the repository host runs by itself -------------------------------------------


def verified(cluster: Cluster, results: Mapping[str, ProofResult] | None, now: float) -> Proof:
    """All that the repository holds was read not long ago, and was what had been written."""
    found = _timed(cluster, "verified", "verify", results, now)
    if isinstance(found, Proof):
        return found
    return Proof("verified", "ok", f"whole {age(now - found['finished'])} ago")


def rehearsal(cluster: Cluster, results: Mapping[str, ProofResult] | None, now: float) -> Proof:
    """A restore was rehearsed not long ago: the newest backup came up, and was whole."""
    found = _timed(cluster, "rehearsal", "rehearsal", results, now)
    if isinstance(found, Proof):
        return found
    until = datetime.fromtimestamp(found["recovered_to"], UTC)
    good = (
        f"{found['backup']} restored in {found['seconds']} s, recovered to"
        f" {until:%Y-%m-%d %H:%M:%S} UTC, {age(now - found['finished'])} ago"
    )
    return Proof("rehearsal", "ok", good)


def _timed(
    cluster: Cluster,
    name: str,
    job: str,
    results: Mapping[str, ProofResult] | None,
    now: float,
) -> Proof | ProofResult:
    unit, days = f"pgha-proof@{job}", cluster.verify.maximum_proof_days
    hint = f"on the repository host: `journalctl -u {unit}`; `systemctl start {unit}` runs it now."
    if results is None:
        return Proof(name, "failed", f"cannot tell what came of {unit}", hint)
    if job not in results:
        return Proof(name, "warning", f"{unit} never ran", hint)
    found = results[job]
    when = age(now - found["finished"])
    if not found["passed"]:
        return Proof(name, "failed", f"failed {when} ago", hint)
    if now - found["finished"] > days * 86400:
        return Proof(name, "failed", f"last passed {when} ago, and {days} d are allowed", hint)
    return found
