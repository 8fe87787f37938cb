"""What the repository host needs for each repository: options, keys, and the timers of backups."""

from collections.abc import Iterator, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.exceptions import DeployError

from backup_repositories import MAIN, Posix, Repository
from cluster import Cluster
from credentials import Secrets
from decisions import Refusal
from facts.component import ComponentState
from operations import config_files
from operations.config_files import File
from setting_types import SettingsError

UNITS = "/etc/systemd/system"
KEYS = "/etc/pgha/pgbackrest-keys"


def numbered(cluster: Cluster) -> Iterator[tuple[int, Repository]]:
    """Return the repositories by pgBackRest's numbers."""
    return enumerate(cluster.pgbackrest.all_repositories, 1)


def number_of(cluster: Cluster, name: str) -> int:
    """Return pgBackRest's number of a repository; raises Refusal where none has that name."""
    known = {one.name: number for number, one in numbered(cluster)}
    if name not in known:
        raise Refusal(f"there is no repository {name!r}", f"there are {', '.join(known)}.")
    return known[name]


def directories(cluster: Cluster) -> list[str]:
    """Return the directories of this host that hold backups."""
    return [one.path for _, one in numbered(cluster) if isinstance(one, Posix)]


def refuse_unmounted(cluster: Cluster, found: ComponentState) -> None:
    """Refuse (OperationError) an empty directory in the place of one that had backups.

    + found: what this host has of the directories and of the units
    """
    paths = found["paths"]
    for _, one in numbered(cluster):
        if not isinstance(one, Posix) or unit(one) not in paths:
            continue
        # Where a disk is mounted there may be a directory without it; not one of postgres.
        is_there = one.path in paths and paths[one.path]["user"] == "postgres"
        if not is_there and host.data.get("backups") != "none":
            raise OperationError(
                f"{host.name} has taken backups into {one.path}, and that is not there\n"
                "    HINT: mount its disk. If it is lost, or another place from now on, add --data"
                " backups=none: it begins empty, with a full backup."
            )


def refuse_missing_keys(cluster: Cluster, secrets: Secrets) -> None:
    """Refuse a run without a key that a repository needs (DeployError)."""
    try:
        for _, one in numbered(cluster):
            for name in (*one.keys, *one.key_files):
                secrets.key(one.name, name)
    except SettingsError as error:
        raise DeployError(str(error)) from None


def options(cluster: Cluster, secrets: Secrets) -> dict[int, dict[str, str | int]]:
    """Return pgBackRest's options for each repository by its number, without `repo<number>-`.

    Raises SettingsError where a key is missing among the secrets.
    """
    found = {}
    for number, one in numbered(cluster):
        found[number] = {
            **one.options(),
            **{option: secrets.key(one.name, key) for key, option in one.keys.items()},
            **{option: _key_path(one, key) for key, option in one.key_files.items()},
            "cipher-type": "aes-256-cbc",
            "cipher-pass": secrets.passphrase(one.name),
            # By time: any moment of the last so many days can be restored. WAL goes with backups.
            "retention-full-type": "time",
            "retention-full": one.retention_days,
            # Small files share one, and of a changed file only the changed parts are kept.
            "bundle": "y",
            "block": "y",
        }
    return found


def key_files(cluster: Cluster, secrets: Secrets) -> list[File]:
    """Return the keys that pgBackRest reads from files, as postgres."""
    owned = ("postgres", "postgres", "600")
    return [
        # pyinfra ends the last line of what it writes: without that each run would find another.
        File(_key_path(one, key), f"{secrets.key(one.name, key).rstrip()}\n", *owned)
        for _, one in numbered(cluster)
        for key in one.key_files
    ]


def _key_path(one: Repository, key: str) -> str:
    return f"{KEYS}/{one.name}.{key}"


# --- units ------------------------------------------------------------------------------------


def service(one: Repository) -> str:
    """Return the name of the service that takes backups, without its `@<type>.service`."""
    return "pgbackrest-backup" if one.name == MAIN else f"pgbackrest-backup-{one.name}"


def unit(one: Repository) -> str:
    """Return the path of that service."""
    return f"{UNITS}/{service(one)}@.service"


def timers(cluster: Cluster) -> list[str]:
    """Return the timers of all backups."""
    return [_timer(one, kind) for _, one in numbered(cluster) for kind in one.schedules]


def never(cluster: Cluster) -> list[str]:
    """Return the timers of the backups that no calendar wants, as an earlier one may have."""
    return [
        _timer(one, kind)
        for _, one in numbered(cluster)
        for kind in ("full", "diff", "incr")
        if kind not in one.schedules
    ]


def units(cluster: Cluster) -> list[File]:
    """Return the services and the timers, which systemd checks before they take their places."""
    found = []
    for number, one in numbered(cluster):
        text = config_files.render(
            "pgbackrest-backup.service.j2",
            cluster=cluster,
            number=number,
            repository=one,
            path=unit(one),
        )
        found.append(File(unit(one), text))
        for kind, schedule in one.schedules.items():
            text = config_files.render(
                "pgbackrest-backup.timer.j2",
                cluster=cluster,
                repository=one,
                kind=kind,
                schedule=schedule,
            )
            path = f"{UNITS}/{_timer(one, kind)}"
            found.append(File(path, text, check=config_files.CALENDAR_CHECK))
    return found


def only_these(files: Sequence[File], timers: Sequence[str]) -> StringCommand:
    """Return a command that starts timers anew, and removes what other repositories have left.

    + files: the units and keys of all repositories; no other one stays
    + timers: all of them
    """
    wanted, names = " ".join(file.path for file in files), " ".join(timers)
    return StringCommand(
        f"for path in {UNITS}/pgbackrest-backup*@*.timer {UNITS}/pgbackrest-backup*@.service"
        f" {KEYS}/*; do case ' {wanted} ' in *\" $path \"*) continue;; esac;"
        ' case "$path" in *.timer) systemctl disable --now "${path##*/}" || exit 1;; esac;'
        ' rm -f "$path" || exit 1; done'
        f" && systemctl daemon-reload && systemctl enable {names} && systemctl restart {names}"
    )


def _timer(one: Repository, kind: str) -> str:
    return f"{service(one)}@{kind}.timer"
