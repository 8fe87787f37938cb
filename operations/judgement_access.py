"""What the facts prove of the ways in and out: routing, archive, backups and firewall."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import permutations

from cluster import Cluster, Host, Opening
from decisions import PatroniMember, leader
from facts.archive import Check
from facts.component import UnitState
from facts.pgbackrest import Repository
from facts.routing import Session
from operations.judgement import Proof, proof

# --- routing ----------------------------------------------------------------------------------

ROUTING_HINT = (
    "look at `curl http://127.0.0.1:{port}/` and `journalctl -u haproxy -u pgbouncer` on {host}."
)


def writes(
    cluster: Cluster, proxy: Host, members: Sequence[PatroniMember], sessions: Sequence[Session]
) -> Proof:
    """Whoever connects for writes reaches the leader, and can write."""
    return _writes("writes", cluster, proxy, cluster.haproxy.rw_port, members, sessions)


def pooled(
    cluster: Cluster, proxy: Host, members: Sequence[PatroniMember], sessions: Sequence[Session]
) -> Proof:
    """The same through PgBouncer."""
    return _writes("pooled", cluster, proxy, cluster.pgbouncer.port, members, sessions)


def _writes(
    name: str,
    cluster: Cluster,
    proxy: Host,
    port: int,
    members: Sequence[PatroniMember],
    sessions: Sequence[Session],
) -> Proof:
    way = f"{proxy.name}:{port}"
    head = leader(members)
    faults = [] if head else ["nobody leads"]
    for session in sessions:
        server = _name(cluster, session)
        if not session["address"]:
            faults.append(f"{way} does not answer: {_reason(session)}")
        elif session["in_recovery"] or (head and server != head.name):
            faults.append(f"{way} leads to {server}, not to the leader")
        elif not session["written"]:
            faults.append(f"{server} refuses a write: {_reason(session)}")
    if not sessions:
        faults.append(f"{proxy.name} does not tell who answers on {way}")
    good = f"{way} leads to {head.name if head else '?'}:{cluster.postgresql.port}, which writes"
    return proof(name, good, list(dict.fromkeys(faults)), _routing_hint(cluster, proxy))


def reads(
    cluster: Cluster, proxy: Host, members: Sequence[PatroniMember], sessions: Sequence[Session]
) -> Proof:
    """Whoever connects for reads reaches each healthy replica in turn, and cannot write."""
    way = f"{proxy.name}:{cluster.haproxy.ro_port}"
    if len(cluster.postgres_members) == 1:
        return Proof("reads", "skipped", "a single database host has no replica")
    replicas = healthy_replicas(members)
    faults = [] if replicas else ["no replica streams"]
    may_be_leader = not replicas and cluster.haproxy.ro_fallback == "leader"
    for session in sessions:
        name = _name(cluster, session)
        if not session["address"]:
            faults.append(f"{way} does not answer: {_reason(session)}")
        elif not session["in_recovery"]:
            if not may_be_leader:
                faults.append(f"{way} leads to {name}, which is no replica")
        elif session["written"]:
            faults.append(f"{name} took a write")
    met = {_name(cluster, session) for session in sessions}
    missed = [name for name in replicas if name not in met]
    if missed and not faults:
        faults.append(f"{', '.join(missed)} never answered in {len(sessions)} connections")
    turns = " in turn" if len(replicas) > 1 else ""
    good = f"{way} leads to {', '.join(replicas)}{turns}, and a write is refused"
    return proof("reads", good, list(dict.fromkeys(faults)), _routing_hint(cluster, proxy))


def healthy_replicas(members: Sequence[PatroniMember]) -> list[str]:
    """Return the names of the replicas that stream."""
    return [m.name for m in members if m.is_healthy and not m.is_leader]


def _name(cluster: Cluster, session: Session) -> str:
    names = {host.address: host.name for host in cluster.postgres_members}
    return names.get(session["address"], session["address"])


def _reason(session: Session) -> str:
    """Return psql's words without where it connected, which the evidence says already."""
    return session["error"].rpartition("failed: ")[2] or "no error was given"


def _routing_hint(cluster: Cluster, proxy: Host) -> str:
    return ROUTING_HINT.format(port=cluster.haproxy.stats_port, host=proxy.name)


def address(cluster: Cluster, holders: Mapping[str, bool], sessions: Sequence[Session]) -> Proof:
    """One HAProxy host has the virtual IP, and whoever connects to it reaches PostgreSQL.

    + holders: of the HAProxy hosts that were asked, who has the address
    """
    virtual_ip = cluster.haproxy.virtual_ip
    if not virtual_ip:
        return Proof("address", "skipped", "no virtual IP is set (haproxy_virtual_ip)")
    having = [name for name, has_it in holders.items() if has_it]
    # Of those that were not asked another may have it; whether it answers was asked anyhow.
    nobody = not having and len(holders) == len(cluster.haproxy_hosts)
    faults = [f"none of {', '.join(holders)} has {virtual_ip}"] if nobody else []
    if len(having) > 1:
        faults.append(f"{', '.join(having)} have {virtual_ip} at the same time")
    for session in sessions:
        if not session["address"]:
            faults.append(f"{virtual_ip} does not answer: {_reason(session)}")
    hint = "look at `journalctl -u keepalived` and `ip -4 address` on the HAProxy hosts."
    holder = ", ".join(having) or "a host that was not asked"
    good = f"{holder} has {virtual_ip}, and leads to PostgreSQL"
    return proof("address", good, list(dict.fromkeys(faults)), hint)


# --- archive and backups ----------------------------------------------------------------------


def archiving(
    segment: str | None, file: str | None, seconds: float, left_out: Sequence[str] = ()
) -> Proof:
    """A segment of WAL that was ended just now is in the repository."""
    if not segment and left_out:
        evidence = f"no primary among the hosts of this run, which leaves out {', '.join(left_out)}"
        return Proof("archiving", "skipped", evidence)
    faults = [] if segment else ["no primary answers, so no WAL could be switched"]
    if segment and not file:
        faults.append(f"{segment} is not in the repository after {seconds:.0f} s")
    timeline = int(segment[:8], 16) if segment else 0
    good = f"{segment} (timeline {timeline}) reached the repository within {seconds:.1f} s"
    hint = "look at pg_stat_archiver, archive_command and /var/log/pgbackrest on the primary."
    return proof("archiving", good, faults, hint)


def backup(
    found: Repository | None,
    check: Check | None,
    units: Mapping[str, UnitState] | None,
    now: float,
    limits: Mapping[str, int],
) -> Proof:
    """pgBackRest's own check passes, each last backup is young, and timers will take the next.

    + limits: how many hours a repository may be without a backup, by its name, in their order
    """
    faults, good = [], "check passes"
    if check is None or not check["passed"]:
        faults.append(f"check: {check['error'] if check else 'pgbackrest is missing'}")
    for number, (name, maximum_hours) in enumerate(limits.items(), 1):
        prefix = f"{name}: " if len(limits) > 1 else ""
        backups = [b for b in (found["backups"] if found else []) if b["repository"] == number]
        if not any(backup["type"] == "full" and not backup["damage"] for backup in backups):
            faults.append(f"{prefix}there is no full backup")
        if not backups:
            continue
        if backups[-1]["damage"]:
            faults.append(
                f"{prefix}{backups[-1]['label']} found pages of the database that are damaged"
            )
        last, old = backups[-1], now - backups[-1]["stopped"]
        if old > maximum_hours * 3600:
            faults.append(
                f"{prefix}the last backup is {age(old)} old, and {maximum_hours} h are allowed"
            )
        good += f", {prefix}{len(backups)} backup{'s' if len(backups) != 1 else ''}"
        good += f", the last ({last['type']}) {age(old)} old"
    faults += _timer_faults(units)
    hint = "on the repository host: `pgbackrest info`, `systemctl list-timers`, `journalctl -u "
    return proof("backup", good, faults, f"{hint}'pgbackrest-backup*' -u 'pgha-proof@*'`.")


def _timer_faults(units: Mapping[str, UnitState] | None) -> list[str]:
    if not units:
        return ["cannot tell whether the timers run"]
    faults = []
    for name, unit in units.items():
        if unit["active"] == "failed":
            faults.append(f"{name} failed")
        elif name.endswith(".timer") and (unit["active"], unit["enabled"]) != ("active", "enabled"):
            faults.append(f"{name} is {unit['active']} and {unit['enabled'] or 'missing'}")
    return faults


def age(seconds: float) -> str:
    """Return a duration in the two units that matter: 3 d 4 h, 5 h 6 min, 7 min."""
    minutes = max(int(seconds // 60), 0)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


# --- firewall ---------------------------------------------------------------------------------

Reached = Mapping[str, Mapping[str, bool]]
"""By the name of the host that tried: which "address:port" it got through to."""


def targets(cluster: Cluster, prober: Host, names: Sequence[str]) -> list[str]:
    """Return what `prober` should try: every port that another host of this run opens to some."""
    return [
        _target(host, opening)
        for host in cluster.hosts
        if host != prober and host.name in names
        for opening in cluster.openings(host)
    ]


def firewall(cluster: Cluster, reached: Reached) -> Proof:
    """Every port lets through those who may, and nobody else among the hosts of this run.

    A closed port proves nothing while nobody gets through: its service may be down.
    """
    pairs = [(a, b) for a, b in permutations(cluster.hosts, 2) if {a.name, b.name} <= {*reached}]
    outside = _tried(cluster, pairs, reached, lambda may: not may)
    inside = _tried(cluster, pairs, reached, lambda may: may)
    if not outside:
        return Proof("firewall", "skipped", "no host of this run is outside of another's ports")
    alive = {(host, opening) for _, host, opening, through in inside if through}
    faults = [f"{a.name} gets through to {_shown(b, o)}" for a, b, o, ok in outside if ok]
    faults += [
        f"{a.name} does not get through to {_shown(b, o)}"
        for a, b, o, ok in inside
        if not ok and (b, o) in alive
    ]
    silent = {_shown(b, o): None for _, b, o, ok in outside if not ok and (b, o) not in alive}
    if silent and not faults:
        evidence = f"nobody gets through to {', '.join(silent)}: closed, or not running"
        return Proof("firewall", "warning", evidence, "start what is down, then verify again.")
    ports = sorted({o.port for _, _, o, _ in outside})
    good = f"{len(outside)} forbidden connections to ports {', '.join(map(str, ports))} refused, "
    hint = "deploy.py restores the policy; `firewall-cmd --info-policy=pgha` shows it there."
    return proof("firewall", f"{good}{len(inside)} allowed ones made", faults, hint)


def _tried(
    cluster: Cluster,
    pairs: Sequence[tuple[Host, Host]],
    reached: Reached,
    wanted: Callable[[bool], bool],
) -> list[tuple[Host, Host, Opening, bool]]:
    return [
        (prober, host, opening, reached[prober.name][_target(host, opening)])
        for prober, host in pairs
        for opening in cluster.openings(host)
        if wanted(_may(prober, opening)) and _target(host, opening) in reached[prober.name]
    ]


def _may(prober: Host, opening: Opening) -> bool:
    return any(IPv4Address(prober.address) in IPv4Network(source) for source in opening.sources)


def _target(host: Host, opening: Opening) -> str:
    return f"{host.address}:{opening.port}"


def _shown(host: Host, opening: Opening) -> str:
    return f"{host.name}:{opening.port} ({opening.purpose})"
