"""What a repository of backups may be, by its type, and pgBackRest's options for its place."""

import base64
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from setting_types import AbsolutePath, Calendar, OptionalCalendar, Port, SettingsError

# A bucket has no directories that anything else needs.
Folder = Annotated[
    str,
    Field(
        pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$",
        description="an absolute path, such as /pgha",
    ),
]
Word = Annotated[str, Field(pattern=r"^[^\s=#]+$", description="one word")]
Options = Mapping[str, str | int]


class Repository(BaseModel):
    """What repositories of all types have: a name, how long they keep backups, when they get some.

    `keys` are the secrets that one needs, each with pgBackRest's option for it; `key_files` are
    more of them, which pgBackRest reads from files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z][a-z0-9]{0,19}$",
        description="lower-case letters and digits, a letter first, 20 characters at most",
    )
    retention_days: int = Field(ge=1, le=9999, description="1 to 9999 days")
    full_schedule: Calendar
    diff_schedule: OptionalCalendar = ""
    incr_schedule: OptionalCalendar = ""
    maximum_backup_hours: int | None = Field(
        default=None, ge=1, description="1 hour or more, or None for verify_maximum_backup_hours"
    )

    @property
    def schedules(self) -> dict[str, str]:
        """Return when each type of backup is taken; a type that never is, is left out."""
        found = {
            "full": self.full_schedule,
            "diff": self.diff_schedule,
            "incr": self.incr_schedule,
        }
        return {kind: calendar for kind, calendar in found.items() if calendar}

    @property
    def keys(self) -> Mapping[str, str]:
        return {}

    @property
    def key_files(self) -> Mapping[str, str]:
        return {}

    def options(self) -> Options:
        """Return pgBackRest's options for its place, without their `repo<number>-`."""
        raise NotImplementedError


class Posix(Repository):
    """A directory of the repository host, which may be a mount of something else."""

    type: Literal["posix"] = "posix"
    path: AbsolutePath

    def options(self) -> Options:
        return {"path": self.path}


class Sftp(Repository):
    """A directory of a host that has sshd and nothing else."""

    type: Literal["sftp"]
    host: Word
    port: Port = 22
    user: Word
    # As `ssh-keygen -lf` prints it there, of its ECDSA key: libssh2 asks for that first.
    host_key: str = Field(
        pattern=r"^SHA256:[A-Za-z0-9+/]{43}$", description="SHA256: and 43 characters more"
    )
    path: AbsolutePath

    @property
    def key_files(self) -> Mapping[str, str]:
        return {"private_key": "sftp-private-key-file"}

    def options(self) -> Options:
        return {
            "type": "sftp",
            "path": self.path,
            "sftp-host": self.host,
            "sftp-host-port": self.port,
            "sftp-host-user": self.user,
            "sftp-host-key-hash-type": "sha256",
            "sftp-host-key-check-type": "fingerprint",
            "sftp-host-fingerprint": base64.b64decode(self.host_key[7:] + "=").hex(),
        }


class S3(Repository):
    """A bucket of S3, or of what speaks like it; `key_type` auto takes the host's own role."""

    type: Literal["s3"]
    bucket: Word
    endpoint: Word
    region: Word
    uri_style: Literal["host", "path"] = "host"
    key_type: Literal["shared", "auto"] = "shared"
    ca_file: AbsolutePath | None = None
    path: Folder

    @property
    def keys(self) -> Mapping[str, str]:
        if self.key_type == "auto":
            return {}
        return {"key": "s3-key", "key_secret": "s3-key-secret"}

    def options(self) -> Options:
        return {
            "type": "s3",
            "path": self.path,
            "s3-bucket": self.bucket,
            "s3-endpoint": self.endpoint,
            "s3-region": self.region,
            "s3-uri-style": self.uri_style,
            "s3-key-type": self.key_type,
            **({"storage-ca-file": self.ca_file} if self.ca_file else {}),
        }


class Azure(Repository):
    """A container of Azure's blob storage; `key_type` sas takes a shared access signature."""

    type: Literal["azure"]
    account: Word
    container: Word
    key_type: Literal["shared", "sas"] = "shared"
    path: Folder

    @property
    def keys(self) -> Mapping[str, str]:
        return {"key": "azure-key"}

    def options(self) -> Options:
        return {
            "type": "azure",
            "path": self.path,
            "azure-account": self.account,
            "azure-container": self.container,
            "azure-key-type": self.key_type,
        }


class Gcs(Repository):
    """A bucket of Google's storage; `key_type` auto takes the instance's own account."""

    type: Literal["gcs"]
    bucket: Word
    key_type: Literal["service", "auto"] = "service"
    path: Folder

    @property
    def key_files(self) -> Mapping[str, str]:
        return {} if self.key_type == "auto" else {"key": "gcs-key"}

    def options(self) -> Options:
        return {
            "type": "gcs",
            "path": self.path,
            "gcs-bucket": self.bucket,
            "gcs-key-type": self.key_type,
        }


TYPES: dict[str, type[Repository]] = {
    "posix": Posix,
    "sftp": Sftp,
    "s3": S3,
    "azure": Azure,
    "gcs": Gcs,
}
AnyRepository = Annotated[Posix | Sftp | S3 | Azure | Gcs, Field(discriminator="type")]
# The name of the repository host's own one, beside those of `pgbackrest_repositories`.
MAIN = "main"


def unfit_repository(fault: ErrorDetails) -> SettingsError:
    """Return what is wrong with one of `pgbackrest_repositories`, and never a key that is in it."""
    _, number, *within = fault["loc"]
    where = f"pgbackrest_repositories[{number}]"
    if len(within) < 2 or within[0] not in TYPES:
        return SettingsError(f"{where} has no type that is known", f"types are {', '.join(TYPES)}.")
    kind, name = map(str, within[:2])
    fields = TYPES[kind].model_fields
    if fault["type"] == "extra_forbidden":
        return SettingsError(
            f"{where} has {name}, which no repository of type {kind} takes",
            f"it takes {', '.join(fields)}. Keys and passphrases stand in the secrets file.",
        )
    takes = f"it takes {_described(fields[name])}."
    if fault["type"] == "missing":
        return SettingsError(f"{where} has no {name}", takes)
    return SettingsError(f"{where}.{name} cannot be {fault['input']!r}", takes)


def _described(field: FieldInfo) -> str:
    """Return what a field takes; one with few values says so by its type."""
    return field.description or " or ".join(map(str, get_args(field.annotation)))
