"""Replacing the authority while the cluster runs: step by step, and in each step host by host.

No step begins before every host was seen to run by the last one, which the services themselves
say: a member must never show a certificate to somebody who does not believe its authority yet.
"""

import click
from pyinfra import host, inventory, state
from pyinfra.api import FunctionCommand, OperationError, operation

import authorities
import plan
from authorities import Stage
from cluster import Cluster, Host
from credentials import Secrets
from decisions import PatroniMember, Refusal, may_replace_authority
from facts.patroni import PatroniCluster, PatroniStatus
from operations import Commands, authority_seen, certificates, etcd, haproxy, patroni, phase
from operations.peers import ask
from platforms import Platform

HEADINGS = {
    Stage.PREPARED: "both authorities are trusted",
    Stage.REPLACED: "the new authority signs",
    Stage.SETTLED: "one authority is trusted",
}


def deploy(cluster: Cluster, here: Host, platform: Platform) -> None:
    """Go the steps that `--data authority=` names; writes go on."""
    last = plan.secrets()
    members = _leader_last(cluster)
    if here.is_postgres:
        ready(name="See whether the cluster is well", cluster=cluster)
    for secrets in host.loop(plan.authority_steps()):
        heading = HEADINGS[authorities.stage(secrets.authority)]
        phase.reached(name=f"== {heading} ==")
        if secrets != last and plan.first_of([member.name for member in cluster.hosts]):
            kept(name="Keep it in the secrets file", cluster=cluster, old=last, new=secrets)
        for member in host.loop(members):
            phase.reached(name=f"== {heading}: {member.name} ==")
            if member.name == here.name:
                _taken_over(cluster, here, platform, secrets)
            if member.is_postgres:
                phase.reached(name=f"== {heading}: {member.name}, asked by HAProxy ==")
                if here.is_haproxy:
                    authority_seen.checked(
                        name="Wait for HAProxy's checks", cluster=cluster, member=member
                    )
        last = secrets
    phase.reached(name="== done ==")
    if plan.first_of([member.name for member in cluster.hosts]):
        told(name="Say what comes next", secrets=last)


def _leader_last(cluster: Cluster) -> list[Host]:
    """Return all hosts, the primary last: asked once, so that all hosts agree on the order."""
    first = cluster.postgres_members[0]
    listed = ask(first.name, PatroniCluster, url=cluster.rest_url(first)) or []
    leaders = [member["name"] for member in listed if member["role"] == "leader"]
    return sorted(cluster.hosts, key=lambda member: member.name in leaders)


def _taken_over(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets) -> None:
    certificates.deploy(cluster, here, secrets)
    if here.is_etcd:
        etcd.in_turn(name="Let etcd read anew", cluster=cluster, here=here, platform=platform)
    if here.is_haproxy:
        haproxy.routes(name="Let HAProxy read anew", cluster=cluster)
    authority_seen.seen(name="See what services show", cluster=cluster, here=here, secrets=secrets)
    if here.is_postgres:
        patroni.healthy(name="Wait until this member leads or streams", cluster=cluster, here=here)


@operation()
def ready(cluster: Cluster) -> Commands:
    """
    Refuse to begin unless one member leads and all others stream.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        authority.ready(name="See whether the cluster is well", cluster=cluster)
    """
    if state.is_executing and plan.first_of([m.name for m in cluster.postgres_members]):
        urls = {member.name: cluster.rest_url(member) for member in cluster.postgres_members}
        members = [PatroniMember(**m) for m in host.get_fact(PatroniStatus, urls=urls) or []]
        try:
            may_replace_authority(members)
        except Refusal as refusal:
            raise OperationError(str(refusal)) from None
    host.noop("the cluster is well")
    yield from ()


@operation()
def kept(cluster: Cluster, old: Secrets, new: Secrets) -> Commands:
    """
    Write the next step into the secrets file, when every host was seen to run by the last one.

    + cluster: the whole cluster
    + old: the secrets that the file has
    + new: the same passwords, and the authority's next step

    To begin, nobody has to be seen: trust in one more takes nothing away.

    **Example:**

    .. code:: python

        authority.kept(name="Keep it", cluster=cluster, old=old, new=new)
    """
    begins = authorities.stage(old.authority) is Stage.SETTLED
    active = {member.name for member in inventory.get_active_hosts()}
    followed = {name for name, seen in authority_seen.RUNS_BY.items() if seen == old}
    missing = [m.name for m in cluster.hosts if m.name not in (active if begins else followed)]
    if state.is_executing and missing:
        raise OperationError(
            f"{missing[0]} was not seen to follow: the authority stays as it is\n"
            "    HINT: bring the host back and run this again, which goes on from here."
        )
    yield FunctionCommand(plan.keep_authority, (old, new), {})
    host.log(
        f"{plan.secrets_path()} has the next step: whatever stops this run, another run of this"
        " or a deploy goes on from there"
    )


@operation()
def told(secrets: Secrets) -> Commands:
    """
    Say how far it is, and what comes next.

    + secrets: what the cluster runs by now

    **Example:**

    .. code:: python

        authority.told(name="Say what comes next", secrets=secrets)
    """
    if state.is_executing:
        is_json = bool(plan.command_line.get("json_output"))  # stdout belongs to the JSON then
        began, now = (authorities.stage(one.authority) for one in (plan.secrets(), secrets))
        text = authorities.next_step(began, now, plan.secrets_source().may_make_up)
        click.echo(f"\n{text}", err=is_json)
    host.noop("said")
    yield from ()
