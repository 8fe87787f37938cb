"""What a person wants to see at the end: who is who, where to connect, what was backed up."""

from datetime import UTC, datetime

import click
from pyinfra import host, inventory, state
from pyinfra.api import operation

import plan
from cluster import Cluster
from facts.patroni import PatroniCluster, PatroniStatus
from facts.pgbackrest import PgbackrestInfo, Repository
from identities import AUTHORITY
from operations import Commands


def deploy(cluster: Cluster) -> None:
    """Print the cluster once, from the first database host that is left at the end."""
    printed(name="Show the cluster", cluster=cluster)


@operation()
def printed(cluster: Cluster) -> Commands:
    """
    Print topology, endpoints and the last backup; changes nothing.

    + cluster: the whole cluster

    **Example:**

    .. code:: python

        summary.printed(name="Show the cluster", cluster=cluster)
    """
    if state.is_executing and plan.first_of([member.name for member in cluster.postgres_members]):
        is_json = bool(plan.command_line.get("json_output"))  # stdout belongs to the JSON then
        click.echo("\n".join(lines(cluster)), err=is_json)
    host.noop("shown")
    yield from ()


def lines(cluster: Cluster) -> list[str]:
    """Return the screen, line by line, as the first member that answers sees the cluster."""
    asked = (
        host.get_fact(PatroniCluster, url=cluster.rest_url(node))
        for node in cluster.postgres_members
    )
    members = next((found for found in asked if found), [])
    by_name = {member["name"]: member for member in members}
    # /cluster knows the primary's position of a loop ago; a lag is only true when read at once.
    urls = {node.name: cluster.rest_url(node) for node in cluster.postgres_members}
    lags = {
        status["name"]: status["lag"] for status in host.get_fact(PatroniStatus, urls=urls) or []
    }
    text = [
        "",
        f"Cluster {cluster.general.name}",
        "",
        _row("MEMBER", "ADDRESS", "ROLE", "STATE", "TL", "LAG"),
    ]
    for node in cluster.postgres_members:
        member = by_name.get(node.name)
        if member is None:
            text.append(_row(node.name, node.address, "?", "not seen", "", ""))
            continue
        role = "primary" if member["role"] == "leader" else member["role"].replace("_", " ")
        lag = "" if role == "primary" else _bytes(lags.get(node.name))
        text.append(
            _row(node.name, node.address, role, member["state"], member["timeline"] or "?", lag)
        )
    text += ["", "Connect as", *_endpoints(cluster), "", f"Last backup: {_last_backup(cluster)}"]
    return text


def _row(*cells: object) -> str:
    widths = (14, 17, 16, 12, 4, 8)
    row = "".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"  {row}".rstrip()


def _bytes(lag: int | None) -> str:
    if lag is None:
        return "unknown"
    return f"{lag} B" if lag < 1024 else f"{lag // 1024} KiB"


def _endpoints(cluster: Cluster) -> list[str]:
    role, database = cluster.app.role, cluster.app.database
    found = []
    virtual_ip = cluster.haproxy.virtual_ip
    for address in [virtual_ip] if virtual_ip else cluster.entrances:
        for port, purpose in (
            (cluster.haproxy.rw_port, "writes, the primary"),
            (cluster.haproxy.ro_port, "reads, a replica"),
            (cluster.pgbouncer.port, "writes, pooled by transaction"),
        ):
            url = f"postgresql://{role}@{address}:{port}/{database}?sslmode=verify-full"
            found.append(f"  {url}   {purpose}")
    return [
        *found,
        f"  the password is `app` in {plan.secrets_source().name},"
        f" sslrootcert is {AUTHORITY} of any host",
    ]


def _last_backup(cluster: Cluster) -> str:
    repository = inventory.get_host(cluster.repository.name)
    if repository not in inventory.get_active_hosts():
        return "not asked (its host is not part of this run)"
    found: Repository | None = repository.get_fact(
        PgbackrestInfo, stanza=cluster.stanza, _sudo=True
    )
    if not found or not found["backups"]:
        return "none"
    last = found["backups"][-1]
    when = datetime.fromtimestamp(last["stopped"], UTC)
    return f"{last['type']} {last['label']}, {when:%Y-%m-%d %H:%M} UTC, {last['size'] >> 20} MiB"
