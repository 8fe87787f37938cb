"""The cluster's secrets: passwords and its authority, made up, checked, and kept in one file.

It knows no pyinfra, and nothing it raises shows a value.
"""

import hashlib
import os
import re
import secrets as random_source
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from certificates import Authority
from setting_types import SettingsError

# 32 characters of 62 are 190 bits; without punctuation no shell, URL or YAML can trip over them.
ALPHABET, LENGTH = string.ascii_letters + string.digits, 32
# What is shorter than this, whoever reaches a port could guess.
SHORTEST = 12
PLACEHOLDER = re.compile(
    r"change.?me|placeholder|example|^\W*$|^(password|secret|postgres)$|[{}<>]", re.I
)


@dataclass(frozen=True)
class Secrets:
    """Passwords, and the authority as PEM; shown by no repr, so that no log can spill one."""

    superuser: str
    replication: str
    rewind: str
    rest_api: str
    etcd_root: str
    etcd_patroni: str
    app: str
    backup_cipher: str
    authority_key: str
    authority_certificate: str
    # By the name of a repository: the keys that its type needs, and a passphrase of its own if any.
    repositories: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def passphrase(self, repository: str) -> str:
        """Return what a repository is encrypted with: its own passphrase, or the cluster's."""
        return self.repositories.get(repository, {}).get("passphrase", self.backup_cipher)

    def key(self, repository: str, name: str) -> str:
        """Return a key of a repository; raises SettingsError where it is missing."""
        try:
            return self.repositories[repository][name]
        except KeyError:
            raise SettingsError(
                f"the secret {name} of the repository {repository} is missing",
                f"add `repositories: {{{repository}: {{{name}: …}}}}` to the secrets. If there are"
                " none yet, deploy once without this repository: that makes them.",
            ) from None

    @property
    def authority(self) -> Authority:
        return Authority(self.authority_key, self.authority_certificate)

    # A user's name belongs to one password: a new password is a new user of etcd. So both are good
    # while hosts change from one to the other, and a name that exists has the right password.

    @property
    def etcd_root_user(self) -> str:
        return f"root-{_mark(self.etcd_root)}"

    @property
    def etcd_patroni_user(self) -> str:
        return f"patroni-{_mark(self.etcd_patroni)}"

    def with_authority(self, authority: Authority) -> "Secrets":
        """Return the same passwords beside another authority."""
        return replace(
            self, authority_key=authority.key, authority_certificate=authority.certificate
        )

    def __repr__(self) -> str:
        return "Secrets(*MASKED*)"


@cache
def _mark(password: str) -> str:
    """Return eight digits that tell a password from another, and nobody what it is."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"pgha etcd user", 50_000).hex()[:8]


REPOSITORIES = "repositories"
NAMES = tuple(name for name in Secrets.__dataclass_fields__ if name != REPOSITORIES)
PEM = ("authority_key", "authority_certificate")


# Why some secrets stay: they are no passwords that a new one could simply take the place of.
STAYS = {
    "backup_cipher": "pgBackRest cannot change a repository's passphrase, and old backups need it",
    "authority_key": "day2/rotate_certificates.py replaces it, in two steps",
    "authority_certificate": "day2/rotate_certificates.py replaces it, in two steps",
}
PASSWORDS = tuple(name for name in NAMES if name not in STAYS)


def chosen(words: str | None) -> tuple[str, ...]:
    """Return which passwords `--data secrets=replication,app` means; None is all of them."""
    names = tuple(word.strip() for word in words.split(",")) if words is not None else PASSWORDS
    for name in names:
        if name in STAYS:
            raise SettingsError(f"{name} cannot be rotated: {STAYS[name]}", "leave it out.")
        if name not in PASSWORDS:
            raise SettingsError(
                f"there is no password {name!r}", f"passwords are {', '.join(PASSWORDS)}."
            )
    return names


def rotated(secrets: Secrets, names: Sequence[str]) -> Secrets:
    """Return the secrets with new values for `names`."""
    new: dict[str, Any] = {name: _random() for name in names}
    return replace(secrets, **new)


def _random() -> str:
    return "".join(random_source.choice(ALPHABET) for _ in range(LENGTH))


def made_up(authority: Authority) -> Secrets:
    """Return new secrets, each strong and its own, beside a new authority."""
    passwords = {name: _random() for name in NAMES if name not in PEM}
    return validated(
        passwords | {"authority_key": authority.key, "authority_certificate": authority.certificate}
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
    return parsed(content, str(path))


def parsed(content: bytes, source: str) -> Secrets:
    """Return the secrets of a YAML document; raises SettingsError, which names its `source`."""
    try:
        values = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):  # they would quote the line, secret and all
        values = None
    if not isinstance(values, dict):
        raise SettingsError(f"{source} is not a YAML mapping", "write lines such as `app: …`.")
    try:
        return validated(values)
    except SettingsError as error:
        raise SettingsError(f"{source}: {error.problem}", error.hint) from None


def document(secrets: Secrets) -> str:
    """Return the text of a secrets file."""
    head = "# The cluster's secrets: keep a copy in a safe place, never in git.\n"
    values = {name: value for name, value in vars(secrets).items() if value}
    return head + yaml.dump(values, Dumper=_Dumper)


def shown(secrets: Secrets, name: str | None) -> str:
    """Return the text of a secrets file, or the bare value of one secret, to be printed."""
    if name is None:
        return document(secrets)
    if name not in NAMES:
        raise SettingsError(f"there is no secret {name!r}", f"secrets are {', '.join(NAMES)}.")
    value: str = vars(secrets)[name]
    return value.rstrip("\n") + "\n"


def keep(secrets: Secrets, path: Path) -> None:
    """Write secrets to a file of mode 0600, never over one that exists (SettingsError)."""
    try:
        _keep(secrets, path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}",
            "secrets_file must name a file in a directory that you may write to.",
        ) from None


def keep_instead(old: Secrets, new: Secrets, path: Path) -> None:
    """Replace the file that holds `old`, in one step: it holds all of one or all of the other."""
    path = path.resolve()  # a link stays one
    if read(path) != old:
        raise SettingsError(
            f"{path} was changed while this ran", "run this again: it is read then."
        )
    try:
        _temporary(new, path).replace(path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}", "nothing was changed yet."
        ) from None


def _temporary(secrets: Secrets, path: Path) -> Path:
    """Write secrets to a file of mode 0600 beside `path`, through to the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(document(secrets))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # a full disk, or Ctrl-C: no half of the secrets stays behind
        temporary.unlink()
        raise
    return temporary


def _keep(secrets: Secrets, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(secrets, path)
    try:
        os.link(temporary, path)  # a rename would replace a file that came up meanwhile
    except FileExistsError:
        raise SettingsError(
            f"{path} came up while this ran, and was left alone", "run this again: it is read then."
        ) from None
    finally:
        temporary.unlink()


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def validated(values: Mapping[str, Any]) -> Secrets:
    """Return the secrets; raises SettingsError (never with a value) where one is unusable."""
    for name in NAMES:
        value = values.get(name)
        if name in PEM and isinstance(value, str) and value.startswith("-----BEGIN "):
            continue
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
        if not all(33 <= ord(sign) <= 126 for sign in value):
            raise SettingsError(
                f"the secret {name} has spaces, or characters beyond ASCII",
                "take letters, digits and ASCII signs: clients disagree about all others.",
            )
    if unknown := sorted(map(str, values.keys() - {*NAMES, REPOSITORIES})):
        raise SettingsError(f"unknown secret {unknown[0]}", "remove it from the secrets file.")
    repositories = values.get(REPOSITORIES) or {}
    _refuse_unfit_keys(repositories)
    # A command may print them without their last newline; the files on the hosts have one.
    texts = {
        name: f"{value.rstrip()}\n"
        for name in PEM
        if (value := values[name]).startswith("-----BEGIN ")
    }
    return Secrets(**{name: values[name] for name in NAMES} | texts, repositories=repositories)


def _refuse_unfit_keys(repositories: Any) -> None:
    groups = repositories.values() if isinstance(repositories, dict) else [None]
    for keys in groups:
        values = keys.values() if isinstance(keys, dict) else [None]
        if not all(isinstance(value, str) and value.strip() for value in values):
            raise SettingsError(
                f"{REPOSITORIES} has something that is no text",
                "write it as `repositories: {<name of the repository>: {<name of a key>: …}}`.",
            )
    for name, keys in repositories.items():
        if len(keys.get("passphrase", "x" * SHORTEST)) < SHORTEST:
            raise SettingsError(
                f"the passphrase of the repository {name} is shorter than {SHORTEST} characters",
                "put a strong one there.",
            )
