"""The cluster's passwords: made up, checked, and kept in one file that nobody else can read.

It knows no pyinfra, and nothing it raises shows a value.
"""

import os
import re
import secrets as random_source
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from settings import SettingsError

# 32 characters of 62 are 190 bits; without punctuation no shell, URL or YAML can trip over them.
ALPHABET, LENGTH = string.ascii_letters + string.digits, 32
# What is shorter than this, whoever reaches a port could guess.
SHORTEST = 12
PLACEHOLDER = re.compile(
    r"change.?me|placeholder|example|^\W*$|^(password|secret|postgres)$|[{}<>]", re.I
)


@dataclass(frozen=True)
class Secrets:
    """The cluster's passwords; shown by no repr, so that no traceback or log can spill one."""

    superuser: str
    replication: str
    rewind: str
    rest_api: str
    app: str

    def __repr__(self) -> str:
        return "Secrets(*MASKED*)"


NAMES = tuple(Secrets.__dataclass_fields__)


def made_up() -> Secrets:
    """Return new secrets, each strong and its own."""
    return validated(
        {name: "".join(random_source.choice(ALPHABET) for _ in range(LENGTH)) for name in NAMES}
    )


def read(path: Path) -> Secrets:
    """Return the secrets of a file; raises SettingsError where the file or one is unusable."""
    try:
        for_others, content = path.stat().st_mode & 0o077, path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}",
            "secrets_file must name a file that you may read.",
        ) from None
    if for_others:
        raise SettingsError(f"{path} can be read by others", f"chmod 600 {path}")
    try:
        values = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):  # they would quote the line, secret and all
        values = None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is not a YAML mapping", "write lines such as `app: …`.")
    try:
        return validated(values)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.problem}", error.hint) from None


def keep(secrets: Secrets, path: Path) -> None:
    """Write secrets to a file of mode 0600, never over one that exists (SettingsError)."""
    try:
        _keep(secrets, path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}",
            "secrets_file must name a file in a directory that you may write to.",
        ) from None


def _keep(secrets: Secrets, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "# The cluster's passwords: keep a copy in a safe place, never in git.\n"
    text += yaml.safe_dump(vars(secrets))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    try:
        os.link(temporary, path)  # a rename would replace a file that came up meanwhile
    except FileExistsError:
        raise SettingsError(
            f"{path} came up while this ran, and was left alone", "run this again: it is read then."
        ) from None
    finally:
        temporary.unlink()


def validated(values: Mapping[str, Any]) -> Secrets:
    """Return the secrets; raises SettingsError (never with a value) where one is unusable."""
    for name in NAMES:
        value = values.get(name)
        if not isinstance(value, str) or "\n" in value or PLACEHOLDER.search(value):
            raise SettingsError(
                f"the secret {name} is missing or left at a placeholder",
                "put a strong value there, or remove the file to have new ones made.",
            )
        if len(value) < SHORTEST:
            raise SettingsError(
                f"the secret {name} is shorter than {SHORTEST} characters",
                "put a strong value there.",
            )
        if not value.isascii():
            raise SettingsError(
                f"the secret {name} has characters beyond ASCII",
                "take letters, digits and ASCII signs: clients disagree about all others.",
            )
    if unknown := sorted(map(str, values.keys() - set(NAMES))):
        raise SettingsError(f"unknown secret {unknown[0]}", "remove it from the secrets file.")
    return Secrets(**{name: values[name] for name in NAMES})
