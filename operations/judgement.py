"""What the facts prove of the cluster itself: pure functions, facts in, one Proof out.

A fact that is missing (None) never counts as good: "cannot tell" is a failure with a hint.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cluster import Cluster
from decisions import PatroniMember, leader
from facts.etcd import Member as EtcdMember
from facts.patroni_views import View

# "skipped" is neither good nor bad: nobody who could answer is part of this run.
Status = Literal["ok", "failed", "warning", "skipped"]
# The first releases of each line without CVE-2026-73500 (a TLS handshake stops the member).
ETCD_MENDED: dict[tuple[int, ...], tuple[int, ...]] = {
    (3, 5): (3, 5, 33),
    (3, 6): (3, 6, 14),
    (3, 7): (3, 7, 1),
}


@dataclass(frozen=True)
class Proof:
    """One promise, whether it holds, what was seen in one line, and what to look at if not."""

    name: str
    status: Status
    evidence: str
    hint: str = ""


def proof(name: str, good: str, faults: Sequence[str], hint: str) -> Proof:
    """Return a proof that holds when there are no faults."""
    if faults:
        return Proof(name, "failed", "; ".join(faults), hint)
    return Proof(name, "ok", good)


def hosts(
    answering: Sequence[str],
    lost: Sequence[str],
    left_out: Sequence[str],
    unfit: Sequence[tuple[str, str]] = (),
) -> Proof:
    """Every host of this run answers, from the first proof to the last; `unfit` has reasons."""
    good = f"{len(answering)} of {len(answering)} answer"
    if left_out:
        good += f"; not part of this run: {', '.join(left_out)}"
    faults = [f"{', '.join(lost)} cannot be reached, or stopped answering"] if lost else []
    hints = ["is it up? Try ssh to it as the user that deploys."] if lost else []
    for fault, hint in unfit:
        faults.append(fault)
        hints.append(hint)
    return proof("hosts", good, faults, " ".join(dict.fromkeys(hints)))


def unproven(name: str, group: str, is_asked: bool) -> Proof:
    """Nobody told: because its hosts are not part of this run, or because they were lost."""
    if not is_asked:
        return Proof(name, "skipped", f"no host of the group {group} is part of this run")
    hint = "mend the proof of hosts first."
    return Proof(name, "failed", f"no host of the group {group} could be asked", hint)


# --- etcd -------------------------------------------------------------------------------------


def etcd(
    cluster: Cluster,
    members: Sequence[EtcdMember] | None,
    health: Mapping[str, bool] | None,
    status: Sequence[Mapping[str, Any]],
    alarms: Sequence[str] | None,
) -> Proof:
    """Every etcd host is a member, healthy, and follows the one leader; no alarm is raised."""
    names = {cluster.etcd_client_url(host): host.name for host in cluster.etcd_members}
    size, quorum = len(names), len(names) // 2 + 1
    sick = [name for url, name in names.items() if not (health or {}).get(url)]
    leaders = [names.get(item["endpoint"], "?") for item in status if item["is_leader"]]
    faults = [f"alarm {alarm}" for alarm in alarms or []]
    if sick:
        faults.append(f"{', '.join(sick)} unhealthy: {size - len(sick)} of {size} left")
    if members is not None and size - len(sick) >= quorum:
        faults += _strangers(names.values(), [member["name"] for member in members])
        faults += _not_one(leaders)
        faults += ["alarm unknown"] if alarms is None else []
    elif not alarms:  # where one is raised, no member calls itself healthy
        faults.append(f"no quorum, which is {quorum}")
    is_full = "NOSPACE" in (alarms or [])
    database = max((item["db_bytes"] for item in status), default=0)
    return proof(
        "etcd",
        f"{size} of {size} members healthy, {', '.join(leaders)} leads, quorum is {quorum}, "
        f"database {database >> 10} KiB",
        faults,
        'docs/operations.md, "etcd is full".'
        if is_full
        else "look at `systemctl status etcd` and `journalctl -u etcd` there.",
    )


def versions(status: Sequence[Mapping[str, Any]]) -> Proof:
    """No component runs a release with a known hole; one that does is a warning."""
    found = sorted({item["version"] for item in status})
    if not found:
        return Proof("versions", "skipped", "etcd does not tell its version")
    old = [version for version in found if not _is_mended(version)]
    if old:
        return Proof(
            "versions",
            "warning",
            f"etcd {', '.join(old)} is older than 3.5.33 or 3.6.14 (CVE-2026-73500)",
            "upgrade its package when your source has a newer one.",
        )
    return Proof("versions", "ok", f"etcd {', '.join(found)}")


def _is_mended(version: str) -> bool:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return numbers >= ETCD_MENDED.get(numbers[:2], (3, 7, 1))


# --- Patroni ----------------------------------------------------------------------------------


def patroni(
    cluster: Cluster, views: Mapping[str, View | None] | None, maximum_lag_mib: int
) -> Proof:
    """One leader; every other member streams from it on its timeline, close behind."""
    hint = "look at `patronictl list` and `journalctl -u patroni` there."
    names = [host.name for host in cluster.postgres_members]
    seen = [(views or {}).get(cluster.rest_url(host)) for host in cluster.postgres_members]
    silent = [name for name, view in zip(names, seen, strict=True) if view is None]
    faults = [f"Patroni on {name} does not answer" for name in silent]
    view = authority(cluster, views)
    if view is None:
        return proof("patroni", "", faults, hint)
    members = [PatroniMember(**member) for member in view["members"]]
    leaders = {m["name"] for one in seen if one for m in one["members"] if _leads(m)}
    faults += _strangers(names, [member.name for member in members]) + _not_one(sorted(leaders))
    head = leader(members)
    for member in members:
        faults += _member_faults(member, head, maximum_lag_mib)
    replicas = [member for member in members if not member.is_leader]
    confirming = [member.name for member in replicas if member.is_synchronous]
    if replicas and not confirming and cluster.general.durability != "async":
        faults.append("no replica confirms commits: a lost primary takes its last ones along")
    lag = _amount(max((member.lag or 0 for member in replicas), default=0))
    good = f"{head.name} leads on timeline {head.timeline}, " if head else ""
    good += f"{len(replicas)} of {len(names) - 1} replicas stream, lag {lag}"
    if confirming:
        good += f", commits wait for any of {', '.join(confirming)}"
    if view["paused"] and not faults:
        return Proof("patroni", "warning", f"paused: no failover; {good}", "`patronictl resume`.")
    return proof("patroni", good, faults, hint)


def authority(cluster: Cluster, views: Mapping[str, View | None] | None) -> View | None:
    """Return the leader's own view of the cluster, or else any that there is."""
    found = None
    for host in cluster.postgres_members:
        if view := (views or {}).get(cluster.rest_url(host)):
            found = found or view
            if any(member["name"] == host.name and _leads(member) for member in view["members"]):
                return view
    return found


def answering(cluster: Cluster, views: Mapping[str, View | None] | None) -> list[PatroniMember]:
    """Return the members that answer for themselves: etcd keeps a dead one's for a while."""
    view = authority(cluster, views)
    urls = {host.name: cluster.rest_url(host) for host in cluster.postgres_members}
    return [
        PatroniMember(**member)
        for member in (view["members"] if view else [])
        if (views or {}).get(urls.get(member["name"], ""))
    ]


def _member_faults(
    member: PatroniMember, head: PatroniMember | None, maximum_lag_mib: int
) -> list[str]:
    faults = []
    if not member.is_healthy:
        faults.append(f"{member.name} is {member.state}")
    elif head and member.timeline != head.timeline:
        faults.append(f"{member.name} is on timeline {member.timeline}, not {head.timeline}")
    elif not member.is_leader and (member.lag is None or member.lag > maximum_lag_mib << 20):
        lag = "an unknown amount" if member.lag is None else _amount(member.lag)
        faults.append(f"{member.name} lags {lag}, and {maximum_lag_mib} MiB are allowed")
    if member.pending_restart:
        faults.append(f"{member.name} waits for a restart")
    return faults


def _leads(member: Any) -> bool:
    return PatroniMember(**member).is_leader


def _strangers(wanted: Any, found: Sequence[str]) -> list[str]:
    return [f"{name} is not a member" for name in wanted if name not in found] + [
        f"{name or 'one without a name'} is a member and not in the inventory"
        for name in found
        if name not in wanted
    ]


def _not_one(leaders: Sequence[str]) -> list[str]:
    if len(leaders) == 1:
        return []
    return [f"{len(leaders)} leaders: {', '.join(leaders)}" if leaders else "no leader"]


def _amount(size: int) -> str:
    if size < 1 << 20:
        return f"{size} B" if size < 1 << 10 else f"{size >> 10} KiB"
    return f"{size >> 20} MiB"
