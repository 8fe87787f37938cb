"""One authority takes over from another: who is trusted meanwhile, and who signs.

The two texts of the secrets tell how far it is, so that a copy of any moment is whole:

    authority_certificate   authority_key
    one                     its own           nothing is under way
    the present, the next   one of each       prepared: hosts trust both, the present one signs
    the next, the former    the next's        replaced: hosts trust both, the next one signs

What stands in authority_certificate is what stands in /etc/pgha/ca.crt. Certificates of the next
authority are shown only where all trust it, and the former is forgotten only when nobody shows
its certificates any more; so the rows are gone through in this order, and never backwards. It
knows no pyinfra and does no I/O.
"""

import re
from collections.abc import Callable
from datetime import datetime
from enum import Enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from certificates import Authority
from identities import AUTHORITY
from setting_types import SettingsError

PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n.+?\n-----END \1-----", re.DOTALL)
ABOUT = 'docs/operations.md, "Replace the authority", says what may stand there.'
COMMAND = "pyinfra inventory.py day2/rotate_certificates.py -y"
LOST = 'make a new one: docs/operations.md, "The authority has ended, or its key is lost".'


class Stage(Enum):
    """How far one authority has taken over from another."""

    SETTLED, PREPARED, REPLACED = "settled", "prepared", "replaced"


def stage(authority: Authority) -> Stage:
    """Return how far it is; raises SettingsError where the texts fit no row of the table."""
    certificates, keys = _blocks(authority.certificate), _blocks(authority.key)
    known = {(1, 1): Stage.SETTLED, (2, 2): Stage.PREPARED, (2, 1): Stage.REPLACED}
    try:
        return known[len(certificates), len(keys)]
    except KeyError:
        raise SettingsError(
            f"authority_certificate holds {len(certificates)} certificates and authority_key"
            f" {len(keys)} keys",
            ABOUT,
        ) from None


def check(authority: Authority, now: datetime) -> None:
    """Refuse (SettingsError) an authority that could sign nothing that others believe."""
    stage(authority)
    try:
        certificates = _certificates(authority.certificate)
        owners = [
            serialization.load_pem_private_key(pem.encode(), None).public_key()
            for pem in _blocks(authority.key)
        ]
    except (ValueError, TypeError):
        raise SettingsError("authority_certificate or authority_key is damaged", ABOUT) from None
    for certificate, owner in zip(certificates, owners, strict=False):  # the former has no key
        if certificate.public_key() != owner:
            raise SettingsError(
                "authority_key does not belong to authority_certificate",
                "the first key belongs to the first certificate, the second to the second.",
            )
        if (end := certificate.not_valid_after_utc) <= now:
            raise SettingsError(
                f"the cluster's authority ended on {end:%Y-%m-%d}: nobody believes what it signed",
                LOST,
            )


def prepared(authority: Authority, following: Authority) -> Authority:
    """Return what it is when both are trusted and the present one still signs."""
    return Authority(
        _joined(authority.key, following.key),
        _joined(authority.certificate, following.certificate),
    )


def replaced(authority: Authority) -> Authority:
    """Return what a prepared authority is when the next one signs; the former's key is gone."""
    present, following = _blocks(authority.certificate)
    return Authority(_joined(_blocks(authority.key)[1]), _joined(following, present))


def settled(authority: Authority) -> Authority:
    """Return what it is when the one that signs is the only one to be trusted."""
    return Authority(_joined(_blocks(authority.key)[0]), _joined(_blocks(authority.certificate)[0]))


def steps(authority: Authority, verb: str, following: Callable[[], Authority]) -> list[Authority]:
    """Return what the cluster has to run by, one after the other, for "prepare" or "replace".

    + following: makes the next authority, where there is none yet

    Whatever an earlier run left undone is done first: the cluster may not yet run by what is there.
    """
    here = stage(authority)
    if verb == "prepare":
        if here is Stage.REPLACED:
            raise SettingsError(
                "the authority is just being replaced", "finish that with --data authority=replace."
            )
        return [authority if here is Stage.PREPARED else prepared(authority, following())]
    if verb != "replace":
        raise SettingsError(f"authority={verb} means nothing", "it is prepare or replace.")
    if here is Stage.PREPARED:
        return [authority, *steps(replaced(authority), verb, following)]
    return [authority, settled(authority)] if here is Stage.REPLACED else [authority]


def next_step(began: Stage, now: Stage, may_write: bool) -> str:
    """Return what to tell whoever replaces an authority, at the end of a run.

    + began, now: how far it was when the run began, and is now
    + may_write: whether the run could keep the secrets itself
    """
    if now is Stage.PREPARED:
        change = (
            "Then go on."
            if may_write
            else "Then change what the command reads: put the second certificate of"
            " authority_certificate first, and take the first key out of authority_key. Go on."
        )
        return (
            "Every host trusts both authorities, and the present one still signs. Before you go"
            f" on, give {AUTHORITY}, the same on all hosts, to every client that verifies.\n"
            f"{change}\n\n    {COMMAND} --data authority=replace\n"
        )
    if now is Stage.REPLACED:
        return (
            "Every certificate is the new authority's. Take the second certificate out of"
            f" authority_certificate where the command reads it. Go on.\n\n    {COMMAND}"
            " --data authority=replace\n"
        )
    if began is Stage.SETTLED:
        return (
            "No next authority is prepared, so none was replaced: whatever an earlier run left"
            f" undone is done. To begin:\n\n    {COMMAND} --data authority=prepare\n"
        )
    return (
        "The new authority signed every certificate, and is the only one to be trusted. Clients may"
        " forget the former one. Keep a new copy of the secrets: no older one is of use.\n"
    )


def names(authority: Authority) -> set[str]:
    """Return the names (RFC 4514) of all that are trusted."""
    return {found.subject.rfc4514_string() for found in _certificates(authority.certificate)}


def ahead(trusted: str, authority: Authority) -> str | None:
    """Return the name of one that a host trusts, that is not known here, and is younger than ours.

    + trusted: what the host has, as PEM

    Then somebody else prepares or replaced the authority, and what is known here is out of date. An
    unknown one that is older is a former one.
    """
    try:
        there, known = _certificates(trusted), _certificates(authority.certificate)
    except ValueError:
        return None
    for found in there:
        if found not in known and found.not_valid_before_utc > known[0].not_valid_before_utc:
            return found.subject.rfc4514_string()
    return None


def is_next(certificate: str, authority: Authority) -> bool:
    """Say whether a host's certificate was signed by the next authority, which does not sign yet.

    Then what is known here is from before the authority was replaced.
    """
    if stage(authority) is not Stage.PREPARED:
        return False
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        found.verify_directly_issued_by(_certificates(authority.certificate)[1])
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certificates(text: str) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(pem.encode()) for pem in _blocks(text)]


def _blocks(text: str) -> list[str]:
    return [match.group() for match in PEM.finditer(text)]


def _joined(*texts: str) -> str:
    return "".join(f"{block}\n" for text in texts for block in _blocks(text))
