"""Facts as the cases tell them: what matters in a situation, and nothing of the rest.

    Component:      {paths: settled, but: {/etc/x: changed}, units: {etcd.service: running}}
                    settled: all files as the operation wants them; `but` names those that are
                    "absent" or "changed", gives single values, and adds paths of others
    EtcdHealth:     [node1, node2], those that are healthy
    EtcdMembers:    [1a node1 10.0.0.11], id, name ("-" before its first start) and address
    PatroniCluster: {node1: leader, node2: streaming pending, node3: replaying lag=7}
    PatroniStatus:  the same; "confirms" commits; "lowers" or "only_lowers" what standbys must not
                    have lower, "replayed=7", or "unreachable"
    PatroniConfig:  {but: {ttl: 45}}, over what the settings want; `foreign` if never marked ours
    AppliedConfiguration: the same for the member's configuration, and {waiting: [max_connections],
                    flagged: true, reloaded: false, loaded: false} where that is so

    Identities:     of every directory: "nothing", or "key" with "good", "ends" (29 of 90 days are
                    left) or "strangers" for its certificate, and "open" if others can read the
                    key; or {etcd: nothing, postgres: key good}, by service

    TrustedAuthorities: "ours", "older" or "younger", beside ours
    Handshakes:     {believes: prepared, but: {8008: another, 2379: none}}: whose clients etcd takes
                    (clusters.STAGES), and who shows another certificate than the file's, or none

    RestoreProgress: {plan: ours, mark: promoted, patroni: inactive, has: {data: shut down}}, of the
                    restore PLAN: `has` gives the states of `data`, of `restored` beside it, of what
                    PLAN puts `aside`, and of what an `older` restore did
    ArchiveListing: {newest: 3}, the newest timeline that the archive has
    RestorableBackups: [20260301-010000F on 3], with the timeline of each

None is always "cannot tell". What stands here in no other form is told as the fact returns it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import authorities
from certificates import new_authority, sign, utc_now
from cluster import Cluster
from facts.component import ComponentState, PathState, UnitState
from facts.handshakes import Handshake
from facts.identities import Shown
from facts.restorable import Restorable
from operations.config_files import Directory, File
from operations.patroni import REPLAYING
from operations.restore_plan import Plan
from operations.restore_table import Wish
from reconciliation import APPLIED
from recovery import Archive, Backup
from tests.clusters import AUTHORITY, REQUEST, STAGES, STRANGER

# A unit is younger than its files; one that does not run is told to have started just now.
WRITTEN, STARTED, NOW = 1000, 2000, 9000
UNITS = {
    "running": UnitState(load="loaded", active="active", enabled="enabled", started=STARTED),
    "stopped": UnitState(load="loaded", active="inactive", enabled="enabled", started=NOW),
    "failed": UnitState(load="loaded", active="failed", enabled="enabled", started=NOW),
    "disabled": UnitState(load="loaded", active="active", enabled="disabled", started=STARTED),
    "masked": UnitState(load="masked", active="inactive", enabled="masked", started=NOW),
    "starting": UnitState(load="loaded", active="activating", enabled="enabled", started=STARTED),
    "missing": UnitState(load="not-found", active="inactive", enabled="", started=NOW),
}


@dataclass(frozen=True)
class Asked:
    """A question: of which cluster and host, about which files, with which arguments."""

    cluster: Cluster
    host: str
    wanted: Sequence[File | Directory]
    arguments: Mapping[str, Any]


def component(brief: Mapping[str, Any], asked: Asked) -> ComponentState:
    paths = {item.path: _settled(item) for item in asked.wanted if brief.get("paths") == "settled"}
    for path, how in brief.get("but", {}).items():
        if how == "absent":
            del paths[path]
        else:
            values: Any = how if isinstance(how, dict) else {"sum": "0" * 64}
            paths[path] = {**(paths.get(path) or _present()), **values}
    units = brief.get("units", {})
    return ComponentState(
        paths=paths,
        units={name: UNITS[units.get(name, "missing")] for name in asked.arguments["units"]},
    )


def _settled(item: File | Directory) -> PathState:
    total, lines = "directory", []
    if isinstance(item, File):
        total = hashlib.sha256(item.content.encode()).hexdigest()
        lines = item.content.splitlines()
    return PathState(
        mode=item.mode, user=item.user, group=item.group, mtime=WRITTEN, sum=total, lines=lines
    )


def _present() -> PathState:
    return PathState(mode="644", user="root", group="root", mtime=WRITTEN, sum="1" * 64, lines=[])


def etcd_health(brief: Sequence[str], asked: Asked) -> dict[str, bool]:
    members = asked.cluster.etcd_members
    return {asked.cluster.etcd_client_url(member): member.name in brief for member in members}


def etcd_members(brief: Sequence[str], asked: Asked) -> list[dict[str, str]]:
    found = []
    for line in brief:
        number, name, address = line.split()
        url = f"https://{address}:{asked.cluster.etcd.peer_port}"
        found.append({"id": number, "name": name.strip("-"), "peer_url": url})
    return found


def patroni_cluster(brief: Mapping[str, str], _: Asked) -> list[dict[str, Any]]:
    return [_patroni_member(name, words.split()) for name, words in brief.items()]


def _patroni_member(name: str, words: list[str]) -> dict[str, Any]:
    leads, lags = "leader" in words, [word for word in words if word.startswith("lag=")]
    lag = int(lags[0].removeprefix("lag=")) if lags else 0
    state = REPLAYING if words[0] == "replaying" else words[0]
    return {
        "name": name,
        "role": "leader" if leads else "quorum_standby" if "confirms" in words else "replica",
        "state": "running" if leads else state,
        "timeline": 1,
        "lag": None if leads else lag,
        "pending_restart": "pending" in words,
    }


def patroni_status(brief: Mapping[str, str], _: Asked) -> list[dict[str, Any]]:
    return [
        _patroni_member(name, text.split())
        | {
            "lowers": "lowers" in text,
            "only_lowers": "only_lowers" in text,
            "replayed": int(text.rpartition("replayed=")[2]) if "replayed=" in text else None,
        }
        for name, text in brief.items()
    ]


def patroni_config(brief: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    document = asked.cluster.dynamic_configuration()
    if not brief.get("foreign"):
        document[APPLIED] = asked.cluster.dynamic_configuration()
    for path, value in brief.get("but", {}).items():
        *above, key = path.split(".")
        place = document
        for name in above:
            place = place[name]
        place[key] = value
    return document


def patroni_applied(brief: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    told = {"reloaded": True, "loaded": True, "waiting": [], "flagged": False}
    return told | dict(brief) | {"configuration": patroni_config(brief, asked)}


def identities(brief: str | Mapping[str, str], asked: Asked) -> dict[str, Shown]:
    here = asked.cluster.host(asked.host)
    found = {}
    for identity in asked.cluster.identities(here):
        words = (brief if isinstance(brief, str) else brief[identity.service]).split()
        shown = Shown(request="", certificate="", access="")
        if "key" in words:
            shown["request"] = REQUEST
            shown["access"] = f"{644 if 'open' in words else 600} {identity.owner}"
        if {*words} & {"good", "ends", "strangers"}:
            authority = STRANGER if "strangers" in words else AUTHORITY
            when = utc_now() - timedelta(days=61 if "ends" in words else 0)
            shown["certificate"] = sign(authority, REQUEST, identity.subject, 90, when)
        found[identity.directory] = shown
    # Of a key that was just made beside the present one.
    can_be_made = not isinstance(brief, str) or "key" in brief
    beside = Shown(request=REQUEST if can_be_made else "", certificate="", access="")
    return {path: found.get(path, beside) for path in asked.arguments["directories"]}


def trusted_authorities(brief: str, _: Asked) -> str:
    shift = {"ours": 0, "older": -1, "younger": 1}[brief]
    other = new_authority("pgha", 3650, utc_now() + timedelta(days=shift)).certificate
    return AUTHORITY.certificate + (other if shift else "")


def handshakes(brief: Mapping[str, Any], asked: Asked) -> dict[str, Handshake]:
    names = sorted(authorities.names(STAGES[brief.get("believes", "settled")].authority))
    shown = dict.fromkeys(["file", *asked.arguments["ports"]], "same") | brief.get("but", {})
    return {str(port): Handshake(certificate=it, authorities=names) for port, it in shown.items()}


PLAN = Plan(
    target="2026-03-01 12:00:00Z",
    stamp="20260301T130000Z",
    host="node2",
    source="/data/pgdata.restore/data",
    backups=("20260301-010000F",),
    timeline=3,
    highest=3,
)
WISH = Wish(
    target="2026-03-01 12:00:00Z",
    database="app",
    tables=("public.orders", "items"),
    goal="recovery_target_timeline = '3'",
    labels=("20260301-010000F",),
    size=100 << 20,
    schema="restored_20260301_130000",
    file="/data/pgha-rehearsal/dumps/app-20260301_130000.dump",
    is_loaded=True,
)
PLACES = {
    "data": "/data/pgdata",
    "restored": PLAN.source,
    "aside": "/data/pgdata.before-20260301T130000Z",
    "older": "/data/pgdata.before-20260201T000000Z",
}


def restore_progress(brief: Mapping[str, Any], _: Asked) -> dict[str, Any]:
    plan = brief.get("plan", {})
    return {
        "plan": json.loads(PLAN.text) if plan == "ours" else plan,
        "mark": brief.get("mark", ""),
        "patroni": brief.get("patroni", "active"),
        "directories": {
            PLACES[name]: {"system": "7", "state": state, "timeline": 3, "lsn": "0/5000028"}
            for name, state in brief.get("has", {"data": "in production"}).items()
        },
        "free_mib": brief.get("free_mib", 9000),
        "fixed": brief.get("fixed", ""),
    }


def archive_listing(brief: Mapping[str, int], _: Asked) -> Archive:
    return Archive(frozenset(), {brief["newest"]: ""})


def restorable_backups(brief: Sequence[str], _: Asked) -> Restorable:
    pairs = [line.split(" on ") for line in brief]
    backups = [Backup(label, 1, 1, int(timeline), 0, 1) for label, timeline in pairs]
    return Restorable(stanza=True, system="7", backups=backups, now=1.0)


TOLD: dict[str, Callable[[Any, Asked], Any]] = {
    "Component": component,
    "EtcdHealth": etcd_health,
    "EtcdMembers": etcd_members,
    "Identities": identities,
    "Handshakes": handshakes,
    "PatroniCluster": patroni_cluster,
    "PatroniStatus": patroni_status,
    "PatroniConfig": patroni_config,
    "AppliedConfiguration": patroni_applied,
    "TrustedAuthorities": trusted_authorities,
    "RestoreProgress": restore_progress,
    "ArchiveListing": archive_listing,
    "RestorableBackups": restorable_backups,
}
