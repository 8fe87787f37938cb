"""From pyinfra's inventory, data and command line to one validated Cluster, or one clear line.

The only place where the description of the cluster meets pyinfra; raises pyinfra's DeployError,
which the command line prints without a traceback, before any host is touched.
"""

import difflib
import os
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import click
from gevent.lock import BoundedSemaphore
from pyinfra import host, inventory, state
from pyinfra.api.exceptions import DeployError, OperationError
from pyinfra.context import ctx_state

import authorities
import certificates
import credentials
import secret_sources
from certificates import Authority
from cluster import GROUPS, Cluster
from credentials import Secrets
from description import HostData, describe
from secret_sources import Source
from setting_types import SettingsError

# The phases in their order, and the groups whose hosts take part in each.
PHASES = {
    "packages": GROUPS,
    "system": GROUPS,
    "firewall": GROUPS,
    "ssh_trust": ("postgres", "pgbackrest"),
    "certificates": GROUPS,
    "etcd": ("etcd",),
    "patroni": ("postgres",),
    "pgbackrest": ("postgres", "pgbackrest"),
    "haproxy": ("haproxy",),
}


@cache
def cluster() -> Cluster:
    """Return the cluster that inventory and settings describe, the same for every host."""
    refuse_run_without_hosts()
    try:
        return describe(
            HostData(member.name, frozenset(member.groups), dict(member.data.dict()))
            for member in inventory
        )
    except SettingsError as error:
        raise DeployError(str(error)) from None


def runs(phase: str) -> bool:
    """Say whether this run includes `phase`: all of them, or those of `--data phases=a,b`."""
    wanted = host.data.get("phases")
    if wanted is None:
        return True
    chosen = [name.strip() for name in str(wanted).split(",")]
    for name in chosen:
        if name not in PHASES:
            near = difflib.get_close_matches(name, PHASES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"phases are {', '.join(PHASES)}."
            raise DeployError(f"there is no phase {name!r}\n    HINT: {hint}")
    groups = {group for name in chosen for group in PHASES[name]}
    if not any(groups & set(member.groups) for member in inventory.get_active_hosts()):
        raise DeployError(
            f"no host of this run takes part in {', '.join(chosen)}\n"
            f"    HINT: limit it to a host of {', '.join(sorted(groups))}, or leave the limit out."
        )
    return phase in chosen


def first_of(names: list[str]) -> bool:
    """Say whether this host is the first of `names` that takes part in this run."""
    active = {member.name for member in inventory.get_active_hosts()}
    return host.name == next((name for name in names if name in active), None)


# pyinfra's options, noted by config.py: click tells them to the main greenlet only.
command_line: dict[str, Any] = {}


def refuse_run_without_hosts() -> None:
    """Refuse a run that no host takes part in: pyinfra would do nothing and exit 0."""
    if not (ctx_state.isset() and state.initialised):
        return  # the inventory could not be loaded, and pyinfra says why
    groups = {group for member in inventory for group in member.groups}
    names = [member.name for member in inventory]
    for option in ("limit", "exclude"):
        for pattern in command_line.get(option) or ():
            if pattern not in groups and not any(fnmatch(name, pattern) for name in names):
                ours = [group for group in GROUPS if group in groups]
                raise click.ClickException(
                    f"--{option} {pattern} matches no host and no group\n"
                    f"    HINT: there are {', '.join(dict.fromkeys([*names, *ours]))}."
                )
    if not any(state.is_host_in_limit(member) for member in inventory):
        given = command_line.get("inventory")
        hint = "--exclude takes every one of them away."
        if not names:
            what = f"{given} names none" if Path(str(given)).exists() else f"there is no {given}"
            hint = f"{what}: give the path of your inventory, such as inventory.py."
        raise click.ClickException(f"no host takes part in this run\n    HINT: {hint}")


# --- secrets ----------------------------------------------------------------------------------


@cache
def secrets_source() -> Source:
    """Return where the secrets are: a file or a command, of the environment or the settings."""
    try:
        settings = {name: host.data.get(name) for name in ("secrets_command", "secrets_file")}
        return secret_sources.source(os.environ, settings)
    except SettingsError as error:
        raise DeployError(str(error)) from None


@cache
def secrets_are_new() -> bool:
    """Say whether this run had to make the secrets up, because there was no file with any."""
    if not secrets_source().may_make_up:
        return False
    try:
        return not secrets_path().exists()
    except OSError as error:  # a directory above it is closed to us
        raise DeployError(
            f"cannot tell whether there is a {secrets_path()}: {error.strerror}\n"
            "    HINT: secrets_file must name a file that you may read."
        ) from None


def secrets_path() -> Path:
    """Return the secrets file, as short as it can be said."""
    return secrets_source().path


def refuse_without_secrets(why: str, hint: str = "bring the file to this machine.") -> None:
    """Refuse a run for a cluster that exists where there is no secrets file.

    + why: what is missing with it, as the end of "there is no secrets.yml…"
    """
    if secrets_are_new():
        raise DeployError(f"there is no {secrets_path()}{why}\n    HINT: {hint}")


_turn = BoundedSemaphore()
_known: list[Secrets] = []


def secrets() -> Secrets:
    """Return the cluster's secrets: from where they are, or newly made for `keep_secrets`.

    All hosts ask for them at once; a command is run for the first, and the others wait.
    """
    with _turn:
        if not _known:
            try:
                _known.append(
                    _made_up() if secrets_are_new() else secret_sources.read(secrets_source())
                )
            except SettingsError as error:
                raise DeployError(str(error)) from None
        return _known[0]


def _made_up() -> Secrets:
    return credentials.made_up(_new_authority())


def _new_authority() -> Authority:
    name, days = cluster().general.name, cluster().tls.authority_days
    return certificates.new_authority(name, days, certificates.utc_now())


def keep_secrets() -> None:
    """Write newly made secrets to their file, mode 0600, never over one that exists."""
    try:
        credentials.keep(secrets(), secrets_path())
    except SettingsError as error:
        raise OperationError(str(error)) from None


@cache
def rotated_secrets() -> Secrets:
    """Return the secrets with new passwords: all, or those of `--data secrets=replication,app`.

    What a command prints cannot be changed from here: such a run takes over what is new there.
    """
    wanted = host.data.get("secrets")
    try:
        if not secrets_source().may_make_up:
            if wanted is not None:
                raise SettingsError(
                    "the secrets come from a command, which no new ones can be given to",
                    "change them where it reads them, and run this without secrets=.",
                )
            return secrets()
        return credentials.rotated(secrets(), credentials.chosen(wanted and str(wanted)))
    except SettingsError as error:
        raise DeployError(str(error)) from None


def keep_rotated_secrets() -> None:
    """Write the new passwords over the old ones, in one step."""
    try:
        credentials.keep_instead(secrets(), rotated_secrets(), secrets_path())
    except SettingsError as error:
        raise OperationError(str(error)) from None


# --- the authority ----------------------------------------------------------------------------


@cache
def authority_steps() -> list[Secrets]:
    """Return what the cluster has to run by, one after the other, by `--data authority=<verb>`.

    What a command prints cannot be changed from here: such a run brings what stands there to all.
    """
    verb, present = str(host.data.get("authority")), secrets()
    try:
        found = authorities.steps(present.authority, verb, _new_authority)
        if secrets_source().may_make_up:
            return [present.with_authority(one) for one in found]
        if found[0] != present.authority:
            raise SettingsError(
                "the secrets come from a command, which no next authority can be given to",
                "put one where it reads them: " + authorities.ABOUT,
            )
        return [present]
    except SettingsError as error:
        raise DeployError(str(error)) from None


def keep_authority(old: Secrets, new: Secrets) -> None:
    """Write the authority's next step over the last one, in one step."""
    try:
        credentials.keep_instead(old, new, secrets_path())
    except SettingsError as error:
        raise OperationError(str(error)) from None


def refuse_part_of_the_cluster() -> None:
    """Refuse a run that leaves hosts out, where all have to follow."""
    active = {member.name for member in inventory.get_active_hosts()}
    missing = [member.name for member in cluster().hosts if member.name not in active]
    if missing:
        raise DeployError(
            f"{missing[0]} is not part of this run, and would not believe the others any more\n"
            "    HINT: leave --limit and --exclude out. A host that is gone has to be replaced"
            " first."
        )
