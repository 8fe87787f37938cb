"""etcd: members that start together once, and change one at a time ever after.

The start file (initial cluster, token, state) exists only until the cluster has formed. A member
that lost its disk can so never come up as an empty stranger under its old name: it has nothing to
start from, until its turn here makes it a new member of the living cluster.
"""

from dataclasses import dataclass

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

import plan
from cluster import Cluster, Host
from credentials import Secrets
from decisions import EtcdLocal, EtcdMember, Refusal, etcd_start, would_lose_quorum
from facts.component import Component, ComponentState
from facts.etcd import EtcdHealth, EtcdMembers
from identities import AUTHORITY, Identity
from operations import Commands, config_files, etcd_access
from operations.config_files import Directory, File
from operations.peers import ask
from operations.waiting import repeated, wait_until
from platforms import Platform

UNIT = "etcd.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/pgha.conf"
# A first start waits for the slowest host's disk; a restart takes two seconds.
HEALTHY_SECONDS = 120.0
LOOK_HINT = "look at `journalctl -u etcd` there, and at the firewall between the members."

# What `started` saw, by host, where it found nothing to do: the next two need not look again.
_running: dict[str, ComponentState] = {}


def deploy(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> None:
    """Make this host a healthy member of an etcd that asks everybody for a password."""
    etcd_access.client(
        name="Let new passwords of etcd in",
        cluster=cluster,
        here=here,
        secrets=secrets,
        may_wait=True,
    )
    started(name="Start etcd where it is safe", cluster=cluster, here=here, platform=platform)
    for member in host.loop(list(cluster.etcd_members)):
        if member.name == here.name:
            in_turn(
                name="Change etcd members in turn", cluster=cluster, here=here, platform=platform
            )
    formed(name="Wait until etcd is healthy", cluster=cluster, platform=platform)
    # Again: an etcd that was down before could not be asked for new passwords.
    etcd_access.client(
        name="Let new passwords of etcd in now", cluster=cluster, here=here, secrets=secrets
    )
    if plan.first_of([member.name for member in cluster.etcd_members]):
        etcd_access.guarded(
            name="Let nobody in without a password", cluster=cluster, here=here, secrets=secrets
        )


@dataclass(frozen=True)
class _Paths:
    environment: str
    start: str
    data: str

    @classmethod
    def of(cls, cluster: Cluster, platform: Platform) -> "_Paths":
        environment = platform.etcd_environment
        return cls(environment, f"{environment}-start", f"{cluster.etcd.data_dir}/member")

    @property
    def told_by(self) -> tuple[str, ...]:
        """Return the paths that tell what a host was before, and whom it believes."""
        return DROP_IN, self.start, self.data, AUTHORITY

    def is_member(self, found: ComponentState) -> bool:
        """Say whether the host has a member's data, or is just making it in its first start."""
        return self.data in found["paths"] or (_runs(found) and self.start in found["paths"])

    def local(self, found: ComponentState) -> EtcdLocal:
        paths = found["paths"]
        return EtcdLocal(
            has_data=self.data in paths,
            # Only the drop-in is surely ours: packages bring an environment file of their own.
            formed=DROP_IN in paths and self.start not in paths,
        )


@operation()
def started(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Start a stopped member that has its data, or all members of a cluster that never formed.

    + cluster: the whole cluster
    + here: the member's host
    + platform: of that host

    **Example:**

    .. code:: python

        etcd.started(name="Start etcd", cluster=cluster, here=here, platform=platform)
    """
    paths, wanted = _Paths.of(cluster, platform), _wanted(cluster, here, platform)
    _running.pop(here.name, None)
    found = _read(paths, wanted)
    if _runs(found) and paths.is_member(found):
        _running[here.name] = found
        host.noop("etcd runs")
        return
    way = _way(cluster, here, paths, found)
    if way == "join":
        host.noop("etcd joins the living cluster when its turn comes")
        return
    if way == "first start":
        members = [f"{m.name}={cluster.etcd_peer_url(m)}" for m in cluster.etcd_members]
        yield from config_files.written([_start_file(cluster, here, paths, "new", members)])
    yield from config_files.written(config_files.differing(wanted, found))
    yield _start(found)


@operation()
def in_turn(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Join the living cluster as a new member, or restart with a changed configuration.

    + cluster: the whole cluster
    + here: the member's host
    + platform: of that host

    One member at a time: deploy.py calls this for each host in a loop of its own, and the member
    is healthy again before the next one's turn. Refuses when a restart would lose the quorum.

    **Example:**

    .. code:: python

        for member in host.loop(cluster.etcd_members):
            if member.name == host.name:
                etcd.in_turn(name="Restart etcd", cluster=cluster, here=here, platform=platform)
    """
    paths, wanted = _Paths.of(cluster, platform), _wanted(cluster, here, platform)
    found = _running.get(here.name) or _read(paths, wanted)
    different = config_files.differing(wanted, found)
    if paths.is_member(found):
        if not different and not _is_stale(found, paths):
            host.noop("etcd runs with this configuration")
            return
        _running.pop(here.name, None)
        _refuse_to_lose_quorum(cluster, here)
        yield from config_files.written(different)
        # Not `restart`: it would wait for ever for a member that does not come back.
        yield StringCommand(
            f"systemctl daemon-reload && systemctl stop {UNIT} && systemctl start --no-block {UNIT}"
        )
    else:
        members = host.get_fact(EtcdMembers, endpoints=cluster.etcd_endpoints)
        if members is None:  # only before the first start: `started` refuses it otherwise
            host.noop("there is no living cluster to join yet")
            return
        yield from _join(cluster, here, paths, [EtcdMember(**m) for m in members])
        yield from config_files.written(different)
        yield _start(found)
    wait_until(
        "etcd's return to health",
        lambda: _is_healthy(cluster, [here]),
        HEALTHY_SECONDS,
        LOOK_HINT,
    )


@operation()
def formed(cluster: Cluster, platform: Platform) -> Commands:
    """
    Wait until the members in this run are healthy, then remove the start file.

    + cluster: the whole cluster
    + platform: of this host

    **Example:**

    .. code:: python

        etcd.formed(name="Wait for etcd", cluster=cluster, platform=platform)
    """
    paths = _Paths.of(cluster, platform)
    active = {member.name for member in inventory.get_active_hosts()}
    members = [member for member in cluster.etcd_members if member.name in active]
    if state.is_executing:
        wait_until(
            "a healthy etcd",
            lambda: _is_healthy(cluster, members),
            HEALTHY_SECONDS,
            f"{LOOK_HINT} A first start needs most members in one run.",
        )
    found = _running.get(host.name) or _read(paths, [])
    if paths.start in found["paths"]:
        yield StringCommand("rm -f", QuoteString(paths.start))
    else:
        host.noop("etcd is healthy")


def _wanted(cluster: Cluster, here: Host, platform: Platform) -> list[File | Directory]:
    paths = _Paths.of(cluster, platform)
    return [
        Directory(cluster.etcd.data_dir, "etcd", "etcd", "700"),
        File(
            DROP_IN,
            config_files.render(
                "etcd.service.conf.j2", start_environment=paths.start, data=paths.data
            ),
        ),
        File(
            paths.environment,
            config_files.render(
                "etcd.env.j2",
                cluster=cluster,
                host=here,
                identity=Identity("etcd", here.name),
                authority=AUTHORITY,
            ),
        ),
    ]


def _start_file(
    cluster: Cluster, here: Host, paths: _Paths, cluster_state: str, members: list[str]
) -> File:
    content = config_files.render(
        "etcd-start.env.j2", cluster=cluster, host=here, state=cluster_state, members=members
    )
    return File(paths.start, content)


def _read(paths: _Paths, wanted: list[File | Directory]) -> ComponentState:
    return config_files.read(wanted, [UNIT], also=[*paths.told_by])


def _way(cluster: Cluster, here: Host, paths: _Paths, found: ComponentState) -> str:
    local = {here.name: paths.local(found)}
    listed = None
    if not local[here.name].has_data:
        listed = host.get_fact(EtcdMembers, endpoints=cluster.etcd_endpoints)
        if listed is None:
            local |= {m.name: _peer_local(m, paths) for m in cluster.etcd_members if m != here}
    try:
        return etcd_start(here.name, local, [EtcdMember(**m) for m in listed] if listed else None)
    except Refusal as refusal:
        raise OperationError(str(refusal)) from None


def _peer_local(member: Host, paths: _Paths) -> EtcdLocal:
    found = ask(member.name, Component, paths=[*paths.told_by], units=[])
    if found is None:
        raise OperationError(
            f"cannot tell whether {member.name} has etcd data\n    HINT: {config_files.ABOVE}"
        )
    return paths.local(found)


def _join(cluster: Cluster, here: Host, paths: _Paths, listed: list[EtcdMember]) -> Commands:
    # Its unit tries every two seconds. Once it may start it would, and the restart that follows
    # would kill it while it learns who it is: it has a log then, and knows nobody for ever.
    yield StringCommand("systemctl stop", UNIT)
    url = cluster.etcd_peer_url(here)
    etcdctl = etcd_access.etcdctl(cluster)
    for member in listed:
        if url == member.peer_url or here.name == member.name:
            yield StringCommand(etcdctl, "member remove", QuoteString(member.id))
    # etcd refuses a new member until the last one has been connected for five seconds.
    peer_urls = StringCommand("--peer-urls=", QuoteString(url), _separator="")
    add = StringCommand(etcdctl, "member add", QuoteString(here.name), peer_urls)
    yield repeated(add, tries=15)
    names = {cluster.etcd_peer_url(m): m.name for m in cluster.etcd_members}
    members = {m.peer_url: names.get(m.peer_url, m.name) for m in listed} | {url: here.name}
    pairs = [f"{name}={peer_url}" for peer_url, name in members.items()]
    yield from config_files.written([_start_file(cluster, here, paths, "existing", pairs)])


def _start(found: ComponentState) -> StringCommand:
    masked = found["units"][UNIT]["load"] == "masked"
    unmask = f"systemctl unmask {UNIT} && " if masked else ""
    return StringCommand(
        f"{unmask}systemctl daemon-reload && systemctl enable {UNIT}"
        # A member without its peers does not report ready: waiting for it would hold them up.
        f" && systemctl restart --no-block {UNIT}"
    )


def _runs(found: ComponentState) -> bool:
    return found["units"][UNIT]["active"] in ("active", "activating")


def _is_stale(found: ComponentState, paths: _Paths) -> bool:
    """Say whether the running process is older than its configuration: a run died half-way.

    Or it believes others than it should: etcd reads that file once, unlike its certificate.
    """
    read = (paths.environment, DROP_IN, AUTHORITY)
    changed = max(found["paths"][path]["mtime"] for path in read if path in found["paths"])
    return changed > found["units"][UNIT]["started"] + config_files.ROUNDED_SECONDS


def _is_healthy(cluster: Cluster, members: list[Host]) -> bool:
    health = host.get_fact(EtcdHealth, endpoints=cluster.etcd_endpoints) or {}
    return all(health.get(cluster.etcd_client_url(member)) for member in members)


def _refuse_to_lose_quorum(cluster: Cluster, here: Host) -> None:
    health = host.get_fact(EtcdHealth, endpoints=cluster.etcd_endpoints) or {}
    healthy = sum(health.get(cluster.etcd_client_url(m), False) for m in cluster.etcd_members)
    is_healthy = health.get(cluster.etcd_client_url(here), False)
    if is_healthy and would_lose_quorum(len(cluster.etcd_members), healthy):
        raise OperationError(
            f"restarting etcd on {here.name} would leave it without a quorum "
            f"({healthy} of {len(cluster.etcd_members)} members are healthy)\n"
            "    HINT: bring the others back first, then run this again."
        )
