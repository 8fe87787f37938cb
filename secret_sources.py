"""Where the secrets come from: a file, or a command that prints them; the environment goes first.

What a command prints is kept in memory only, and nothing it raises shows a value.
"""

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import credentials
from credentials import NAMES, Secrets
from setting_types import SettingsError

# A smart card may want to be touched; who waits longer than this will not answer.
SECONDS = 120
LONGEST_QUOTE = 200


@dataclass(frozen=True)
class Source:
    """Either a command or, where that is "", a file; `name` is how to speak of it."""

    command: str
    path: Path

    @property
    def name(self) -> str:
        # Arguments may hold a token of their own: only the program is named.
        return f"what {self.command.split()[0]} prints" if self.command else str(self.path)

    @property
    def may_make_up(self) -> bool:
        """Say whether new secrets could be kept here."""
        return not self.command


def source(environment: Mapping[str, str], data: Mapping[str, Any]) -> Source:
    """Return the first source that is set: environment before settings, command before file.

    + environment: PGHA_SECRETS_COMMAND and PGHA_SECRETS_FILE, "" is not set
    + data: secrets_command and secrets_file
    """
    for place, command, file in (
        (environment, "PGHA_SECRETS_COMMAND", "PGHA_SECRETS_FILE"),
        (data, "secrets_command", "secrets_file"),
    ):
        found = place.get(command) or ""
        if not isinstance(found, str):
            raise SettingsError(f"{command} is not text", "write the command as in a shell.")
        if found.strip():
            return Source(found, Path())
        if path := place.get(file):
            return Source("", _short(Path(str(path))))
    return Source("", Path("secrets.yml"))


def read(source: Source) -> Secrets:
    """Return the secrets of a source; raises SettingsError where one of them is unusable."""
    if not source.command:
        return credentials.read(source.path)
    content = _printed(source.command)
    try:
        return credentials.parsed(content, source.name)
    except SettingsError as error:
        raise SettingsError(
            error.problem, "mend it where the command reads it: nothing is made up for a command."
        ) from None


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _printed(command: str) -> bytes:
    """Return what a command prints, run without a shell and without a terminal."""
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except ValueError as error:
        raise SettingsError(
            f"secrets_command cannot be read: {str(error).lower()}", "mind its quotes."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"secrets_command cannot run {words[0]}: {error.strerror}",
            "it runs without a shell: put one around it (sh -c '…') where it needs one.",
        ) from None
    except subprocess.TimeoutExpired:
        raise SettingsError(
            f"secrets_command ({words[0]}) did not end within {SECONDS} s",
            "it cannot ask for anything here: log in, or unlock its key, before this run.",
        ) from None
    if done.returncode:
        said = _quotable(done.stderr, done.stdout) or "(it says no more)"
        raise SettingsError(
            f"secrets_command ({words[0]}) ended with exit status {done.returncode}: {said}",
            "run it by hand: it must print the document of secrets.yml and end with status 0.",
        )
    return done.stdout


def _quotable(said: bytes, printed: bytes) -> str:
    """Return the first line of what a command said, without anything that may be a secret."""
    line = next(iter(said.decode(errors="replace").strip().splitlines()), "")
    line = re.sub(rf"\b({'|'.join(NAMES)})(['\"]?\s*[:=]\s*)\S+", r"\1\2*MASKED*", line)
    for word in sorted(set(printed.decode(errors="replace").split()), key=len, reverse=True):
        if len(word) >= credentials.SHORTEST:
            line = line.replace(word.strip("\"'"), "*MASKED*")
    return "".join(sign for sign in line if sign.isprintable())[:LONGEST_QUOTE]
