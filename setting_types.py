"""What single settings may be, whatever they set, and how one that cannot be meant is refused."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[
    int,
    Field(strict=True, ge=1, le=65535, description="a port: a number from 1 to 65535, unquoted"),
]
# Two levels at least, and no component that starts with a dot: never /data, /etc or /data/../etc.
AbsolutePath = Annotated[
    str,
    Field(
        pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*){2,}$",
        description="an absolute path of two levels or more, such as /data/pgdata",
    ),
]
Identifier = Annotated[
    str,
    Field(
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="lower-case letters, digits and _, no digit first, 63 characters at most",
    ),
]
Url = Annotated[
    str, Field(pattern=r"^https?://\S+[^/]$", description="an http(s) URL without a last /")
]
RepositoryUrl = Annotated[
    str,
    Field(
        pattern=r"^(https?|file)://\S+[^/]$",
        description="an http(s) or file URL without a last /",
    ),
]
# In systemd's words; systemd itself checks them on the repository host.
Calendar = Annotated[
    str,
    Field(pattern=r"^[^\n]+$", description="a calendar as systemd's OnCalendar, such as Sun 01:00"),
]
OptionalCalendar = Annotated[
    str,
    Field(
        pattern=r"^[^\n]*$",
        description='a calendar as systemd\'s OnCalendar, such as hourly, or "" for never',
    ),
]


class SettingsError(ValueError):
    """Says in one line what is wrong with the description of the cluster, and how to mend it."""

    def __init__(self, problem: str, hint: str) -> None:
        self.problem, self.hint = problem, hint
        super().__init__(f"{problem}\n    HINT: {hint}")


class Component(BaseModel):
    """The settings whose names start with `prefix`, read from the hosts of `group` ("" is all)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prefix: ClassVar[str]
    group: ClassVar[str] = ""
