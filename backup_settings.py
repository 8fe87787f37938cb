"""The settings of backups: where they are kept, how long, and when they are taken and proven."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from setting_types import AbsolutePath, Calendar, Component, Port, SettingsError


class Pgbackrest(Component):
    """The repository, how long it keeps what, and when it takes backups."""

    prefix: ClassVar[str] = "pgbackrest_"
    group: ClassVar[str] = "pgbackrest"

    transport: Literal["ssh", "tls"] = Field(description="ssh or tls")
    tls_port: Port
    repository_path: AbsolutePath
    retention_days: int = Field(ge=1, le=9999, description="1 to 9999 days")
    full_schedule: Calendar
    diff_schedule: Calendar
    process_max: int = Field(ge=1, le=999, description="1 to 999 processes")
    check_schedule: Calendar
    verify_schedule: Calendar
    rehearsal_schedule: Calendar
    # A socket lies in it, and the path of one has 107 bytes at most.
    rehearsal_path: AbsolutePath = Field(max_length=80)
    rehearsal_query: str = Field(description="one query whose answer is known, or an empty text")
    rehearsal_expected: str = Field(description="the answer to that query, as psql -At prints it")
    metrics_path: AbsolutePath

    @model_validator(mode="after")
    def rehearsal_is_apart_from_the_repository(self) -> Self:
        rehearsal, repository = f"{self.rehearsal_path}/", f"{self.repository_path}/"
        if rehearsal.startswith(repository) or repository.startswith(rehearsal):
            raise SettingsError(
                f"pgbackrest_rehearsal_path ({self.rehearsal_path}) and pgbackrest_repository_path "
                f"({self.repository_path}) hold each other: a rehearsal removes what it made",
                "give it a directory of its own.",
            )
        return self
