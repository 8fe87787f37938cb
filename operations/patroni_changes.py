"""What changed settings ask of a running cluster: the live configuration, and restarts in turn.

Patroni keeps one configuration for all members in etcd, and restarts members on request: replicas
first, the primary last and by switchover.
"""

import json

from pyinfra import host, inventory, state
from pyinfra.api import OperationError, QuoteString, StringCommand, operation

from cluster import Cluster, Host
from decisions import (
    PatroniMember,
    Refusal,
    leader,
    next_restart,
    switchover_candidate,
)
from facts.patroni import PatroniConfig, PatroniStatus
from facts.patroni_applied import Applied, AppliedConfiguration
from operations import Commands
from operations.waiting import wait_until
from platforms import Platform
from reconciliation import reconcile

# A loop_wait is 10 s; a checkpoint before a restart may take minutes.
SETTLED_SECONDS = 600.0
# Patroni reloads in its next loop and looks a second later.
NOTICED_SECONDS = 60.0
LOOK_HINT = "look at `patronictl list` and `journalctl -u patroni` there."
LOWERS_HINT = "the primary has to lower its parameters first: run this again without --limit."


@operation()
def live_configuration(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Bring Patroni's live (DCS) configuration to the settings, key by key.

    + cluster: the whole cluster
    + here: any member's host
    + platform: of that host

    Keys that the settings dropped are removed; keys that somebody else added are left alone. The
    change is printed before it is made.

    **Example:**

    .. code:: python

        patroni_changes.live_configuration(
            name="Reconcile", cluster=cluster, here=here, platform=platform
        )
    """
    live = host.get_fact(PatroniConfig, url=cluster.rest_url(here))
    if live is None:
        _cannot_tell("the live configuration")
        return
    way = reconcile(live, cluster.dynamic_configuration())
    if not way.patch:
        host.noop("the live configuration is what the settings say")
        return
    for line in way.lines:
        host.log(f"live configuration: {line}")
    yield patronictl(
        platform, "edit-config --quiet --force --apply -", _stdin=json.dumps(way.patch)
    )


@operation()
def applied(cluster: Cluster, here: Host, platform: Platform) -> Commands:
    """
    Wait until this member runs by what the settings say, but for what a restart must bring.

    + cluster: the whole cluster
    + here: the member's host
    + platform: of that host

    Patroni takes over its own file and the live configuration in its next loop.

    Patroni asks PostgreSQL for parameters that need a restart one second after a reload. A busy
    postmaster takes longer, and Patroni then believes that nothing is pending: it is asked again.

    **Example:**

    .. code:: python

        patroni_changes.applied(name="Wait", cluster=cluster, here=here, platform=platform)
    """
    desired = cluster.dynamic_configuration()
    seen: Applied | None = None

    def look() -> Applied | None:
        nonlocal seen
        seen = ask_applied(cluster, here, platform)
        return seen

    def ready() -> bool:
        if (now := look()) is None or not (now["reloaded"] and now["loaded"]):
            return False
        return not reconcile(now["configuration"], desired).patch

    def flagged() -> bool:
        return (now := look()) is not None and (now["flagged"] or not now["waiting"])

    if state.is_executing:
        wait_until("taking over the configuration", ready, SETTLED_SECONDS, LOOK_HINT)
    if seen is None or seen["flagged"] or not seen["waiting"]:
        host.noop(f"{here.name} runs by its configuration")
        return
    host.log(f"Patroni overlooks that {', '.join(seen['waiting'])} of {here.name} need a restart")
    yield patronictl(
        platform, "reload --force", QuoteString(cluster.general.name), QuoteString(here.name)
    )
    wait_until("Patroni's notice of a pending restart", flagged, NOTICED_SECONDS, LOOK_HINT)


@operation()
def pending_restarts(cluster: Cluster, platform: Platform) -> Commands:
    """
    Restart the members in this run that Patroni says need it, one after the other.

    + cluster: the whole cluster
    + platform: of this host

    Which member is next, and how, is `decisions.next_restart`'s rule; each one is healthy again
    before the next one's turn.

    **Example:**

    .. code:: python

        patroni_changes.pending_restarts(
            name="Restart", cluster=cluster, platform=platform
        )
    """
    active = [member.name for member in inventory.get_active_hosts()]
    done: list[str] = []
    while True:
        members = ask_members(cluster)
        if members is None:
            _cannot_tell("which members need a restart")
            return
        try:
            step = next_restart(members, active)
            if step is None:
                break
            what, target = step
            if done.count(target.name) > 1:
                hint = LOWERS_HINT if target.only_lowers else LOOK_HINT
                raise OperationError(
                    f"{target.name} still needs a restart after two\n    HINT: {hint}"
                )
            done.append(target.name)
            yield _restart(cluster, platform, what, target, members)
        except Refusal as refusal:
            raise OperationError(str(refusal)) from None
        wait_until("a healthy cluster", lambda: all_healthy(cluster), SETTLED_SECONDS, LOOK_HINT)
    if not done:
        host.noop("no member needs a restart")


def ask_applied(cluster: Cluster, here: Host, platform: Platform) -> Applied | None:
    """Return by what this member runs now, or None when Patroni does not answer."""
    found: Applied | None = host.get_fact(
        AppliedConfiguration,
        url=cluster.rest_url(here),
        patroni_config=platform.patroni_config,
        data_dir=cluster.postgresql.data_dir,
        psql=f"{platform.postgresql_bin}/psql",
        port=cluster.postgresql.port,
    )
    return found


def ask_members(cluster: Cluster) -> list[PatroniMember] | None:
    """Return every member as it sees itself, or None when this host cannot ask."""
    urls = {member.name: cluster.rest_url(member) for member in cluster.postgres_members}
    found = host.get_fact(PatroniStatus, urls=urls)
    return None if found is None else [PatroniMember(**member) for member in found]


def _restart(
    cluster: Cluster, platform: Platform, what: str, target: PatroniMember,
    members: list[PatroniMember],
) -> StringCommand:  # fmt: skip
    scope = QuoteString(cluster.general.name)
    if what == "restart":
        host.log(f"restarting PostgreSQL on {target.name}")
        # Not --pending: patronictl takes that from etcd, where it is known a loop later only.
        return patronictl(platform, "restart --force", scope, QuoteString(target.name))
    return switched_over(cluster, platform, target, switchover_candidate(members))


def switched_over(
    cluster: Cluster, platform: Platform, old: PatroniMember, new: PatroniMember
) -> StringCommand:
    """Return the command that hands the lead over, and say so."""
    host.log(f"switching over from {old.name} to {new.name}")
    return patronictl(
        platform, "switchover --force --leader", QuoteString(old.name),
        "--candidate", QuoteString(new.name), QuoteString(cluster.general.name),
    )  # fmt: skip


def all_healthy(cluster: Cluster) -> bool:
    """Say whether one member leads and all others stream."""
    members = ask_members(cluster) or []
    return leader(members) is not None and all(member.is_healthy for member in members)


def patronictl(platform: Platform, *words: object, _stdin: str = "") -> StringCommand:
    """Return a command of Patroni's, as its own user."""
    return StringCommand(
        "cd / && runuser -u postgres -- patronictl -c", QuoteString(platform.patroni_config),
        *words, _stdin=_stdin,
    )  # fmt: skip


def _cannot_tell(what: str) -> None:
    """Stop a real run that does not know; a dry one only says so."""
    if state.is_executing:
        raise OperationError(f"Patroni on {host.name} does not tell {what}\n    HINT: {LOOK_HINT}")
    host.noop(f"Patroni does not tell {what} yet")
