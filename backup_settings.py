"""The settings of backups: where they are kept, how long, and when they are taken and proven."""

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from backup_lending import Reader, Source
from backup_repositories import MAIN, AnyRepository, Posix, Repository
from setting_types import AbsolutePath, Calendar, Component, OptionalCalendar, Port, SettingsError


class Pgbackrest(Component):
    """The repositories, how long they keep what, and when they get backups."""

    prefix: ClassVar[str] = "pgbackrest_"
    group: ClassVar[str] = "pgbackrest"

    transport: Literal["ssh", "tls"] = Field(description="ssh or tls")
    tls_port: Port
    repository_path: AbsolutePath
    retention_days: int = Field(ge=1, le=9999, description="1 to 9999 days")
    full_schedule: Calendar
    diff_schedule: OptionalCalendar
    incr_schedule: OptionalCalendar
    repositories: tuple[AnyRepository, ...] = Field(
        description="a list of further repositories, as docs/operations.md shows them, or []"
    )
    readers: tuple[Reader, ...] = Field(
        description="a list of readers, as docs/operations.md shows them, or []"
    )
    source: Source | None = Field(
        description="the repository of another cluster, as docs/operations.md shows it, or None"
    )
    process_max: int | None = Field(
        ge=1, le=999, description="1 to 999 processes, or None for half of a host's cores"
    )
    check_schedule: Calendar
    verify_schedule: Calendar
    rehearsal_schedule: Calendar
    # A socket lies in it, and the path of one has 107 bytes at most.
    rehearsal_path: AbsolutePath = Field(max_length=80)
    rehearsal_query: str = Field(description="one query whose answer is known, or an empty text")
    rehearsal_expected: str = Field(description="the answer to that query, as psql -At prints it")
    metrics_path: AbsolutePath

    @property
    def all_repositories(self) -> tuple[Repository, ...]:
        """Return every repository; the first one has pgBackRest's number 1."""
        main = Posix(
            name=MAIN,
            path=self.repository_path,
            retention_days=self.retention_days,
            full_schedule=self.full_schedule,
            diff_schedule=self.diff_schedule,
            incr_schedule=self.incr_schedule,
        )
        return (main, *self.repositories)

    def workers(self, cores: int) -> int:
        """Return how many processes pgBackRest may have on a host: half of its cores, two at least.

        With one, nothing is fetched or sent while another thing is compressed.
        """
        return self.process_max or max(2, cores // 2)

    @field_validator("repositories")
    @classmethod
    def names_are_different(cls, value: tuple[Repository, ...]) -> tuple[Repository, ...]:
        names = [MAIN, *(one.name for one in value)]
        if doubles := [name for name in names if names.count(name) > 1]:
            raise SettingsError(
                f"two repositories have the name {doubles[0]}",
                f"give each of pgbackrest_repositories its own; {MAIN} is the first one's.",
            )
        return value

    @model_validator(mode="after")
    def directories_are_apart(self) -> Self:
        places = {
            "pgbackrest_rehearsal_path": self.rehearsal_path,
            "pgbackrest_repository_path": self.repository_path,
        }
        for one in self.repositories:
            if isinstance(one, Posix):
                places[f"the path of the repository {one.name}"] = one.path
        for what, path in places.items():
            for other, beside in places.items():
                if what != other and f"{path}/".startswith(f"{beside}/"):
                    raise SettingsError(
                        f"{what} ({path}) and {other} ({beside}) hold each other: each is"
                        " tidied up by itself",
                        "give each a directory of its own.",
                    )
        return self
