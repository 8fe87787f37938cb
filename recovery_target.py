"""What somebody may type as the target of a restore, and what it means."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from decisions import Refusal

Kind = Literal["latest", "time", "lsn", "xid", "name", "backup"]
FORMS = (
    "latest, a time with its zone (2026-03-01 14:30:00+01:00), an LSN (0/3000060), xid:<number>,"
    " name:<restore point> or the label of a backup."
)
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
# PostgreSQL takes 63 bytes of a restore point's name; nothing here has to be quoted in a shell.
NAME = re.compile(r"[A-Za-z0-9_.:@ -]{1,63}")
PRECISION = "%Y-%m-%d %H:%M:%S.%f+00"


@dataclass(frozen=True)
class Target:
    """Where to go back to; `value` as PostgreSQL takes it, and for people.

    + when: of a time, in seconds since the epoch
    + lsn: of a position in WAL, in bytes
    """

    kind: Kind
    value: str = ""
    when: float = 0.0
    lsn: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.value}".strip()


def parse(text: str) -> Target:
    """Return the target that somebody typed; raises Refusal with the forms there are."""
    given = text.strip()
    if given == "latest":
        return Target("latest")
    if LABEL.fullmatch(given):
        return Target("backup", given)
    if LSN.fullmatch(given):
        return Target("lsn", given.upper(), lsn=position(given))
    kind, _, value = given.partition(":")
    if kind == "xid" and re.fullmatch(r"[1-9]\d{0,9}", value) and int(value) < 1 << 32:
        return Target("xid", value)
    if kind == "name" and NAME.fullmatch(value):
        return Target("name", value)
    return _time(given)


def _time(given: str) -> Target:
    try:
        moment = datetime.fromisoformat(given.removesuffix(" UTC") + "Z" * given.endswith(" UTC"))
        if moment.tzinfo is None:
            raise Refusal(
                f"{given} is a time without a zone, and hosts may differ in theirs",
                f"add it, as in {given}+00:00 for UTC.",
            )
        return Target("time", f"{moment.astimezone(UTC):{PRECISION}}", when=moment.timestamp())
    except (ValueError, OverflowError):
        raise Refusal(f"{given!r} is no target of a restore", f"give {FORMS}") from None


def position(lsn: str) -> int:
    """Return an LSN such as 0/3000060 in bytes."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def shown(lsn: int) -> str:
    """Return a position as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
