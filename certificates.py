"""The cluster's own certificate authority: made once, it turns hosts' requests into certificates.

Keys are made where they are used and never travel: a host sends a request, and what comes back is
bound to the names and addresses that the cluster knows of it, whatever the request itself claims.
It knows no pyinfra and does no I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Clocks of hosts may be behind: a certificate of this minute must not be "not yet valid" there.
BACKDATED = timedelta(hours=1)
# ub-common-name of RFC 5280, appendix A.
COMMON_NAME_LIMIT = 64


class CertificateError(ValueError):
    """A request or a certificate is not what it should be."""


@dataclass(frozen=True)
class Authority:
    """A private key and the certificate that everybody trusts, as PEM; no repr shows the key.

    Of several, the first is the one that signs: `authorities` says when there are more.
    """

    key: str
    certificate: str

    def __repr__(self) -> str:
        return "Authority(*MASKED*)"


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for: a name for people, DNS names and addresses, each exactly these.

    The name is an organizational unit, not a common name: etcd takes a common name for a user of
    its own, and refuses a client that has one and speaks through the gateway, as Patroni does.
    pgBackRest knows its clients by their common name and by nothing else.
    """

    name: str
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    is_common: bool = False

    @property
    def distinguished(self) -> x509.Name:
        kind = NameOID.COMMON_NAME if self.is_common else NameOID.ORGANIZATIONAL_UNIT_NAME
        return x509.Name([x509.NameAttribute(kind, self.name)])

    @property
    def alternatives(self) -> x509.SubjectAlternativeName:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.dns]
        names += [x509.IPAddress(IPv4Address(address)) for address in self.addresses]
        return x509.SubjectAlternativeName(names)


def new_authority(cluster: str, days: int, now: datetime) -> Authority:
    """Return a new authority for `cluster`, valid for `days`; it signs hosts, no authority."""
    key = ec.generate_private_key(ec.SECP384R1())
    # Two authorities of one day must not share a name: etcd and openssl tell them apart by it.
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    name = _name(f"{cluster} authority {now:%Y-%m-%d} {digest[:8]}")
    certificate = (
        _builder(name, name, key.public_key(), now, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Authority(private.decode(), _pem(certificate))


def sign(authority: Authority, request: str, subject: Subject, days: int, now: datetime) -> str:
    """Return the certificate (PEM) for a host's request, valid for `days` or as the authority is.

    Only the key is taken from the request, and only if the request proves to own it; raises
    CertificateError otherwise. It serves for both ends of a connection: members call each other.
    """
    try:
        asked = x509.load_pem_x509_csr(request.encode())
        proven = asked.is_signature_valid
    except (ValueError, InvalidSignature):
        proven = False
    if not proven:
        raise CertificateError(f"the certificate request of {subject.name} is damaged")
    key, issuer = _key(authority), x509.load_pem_x509_certificate(authority.certificate.encode())
    last = issuer.not_valid_after_utc
    if last <= now:
        raise CertificateError(f"the authority ended on {last:%Y-%m-%d}")
    end = min(now + timedelta(days=days), last)
    certificate = (
        _builder(subject.distinguished, issuer.subject, asked.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(subject.alternatives, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA384())
    )
    return _pem(certificate)


def flaw(
    certificate: str, request: str, authority: Authority, subject: Subject, now: datetime
) -> str | None:
    """Return why a certificate must be replaced, or None while it is good.

    The arguments are those of `fault`. A certificate is renewed when less than a third of its life
    is left, as ACME clients do, but not where a new one would end with the same authority.
    """
    if why := fault(certificate, request, authority, subject):
        return why
    found = x509.load_pem_x509_certificate(certificate.encode())
    end, begin = found.not_valid_after_utc, found.not_valid_before_utc
    last = x509.load_pem_x509_certificate(authority.certificate.encode()).not_valid_after_utc
    return f"it ends on {end:%Y-%m-%d}" if end - now < (end - begin) / 3 and end < last else None


def fault(certificate: str, request: str, authority: Authority, subject: Subject) -> str | None:
    """Return what is wrong with a certificate whatever the time, or None.

    + certificate: PEM, "" where there is none
    + request: of the key that is there now
    + authority, subject: who should have signed it, and for whom
    """
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        asked = x509.load_pem_x509_csr(request.encode())
        issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return "there is none"
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return "another authority signed it"
    if found.public_key() != asked.public_key():
        return "it belongs to another key"
    if (found.subject, alternatives) != (subject.distinguished, subject.alternatives):
        return "its names are not the host's"
    if found.not_valid_after_utc > issuer.not_valid_after_utc:
        return "it outlives its authority"
    return None


def days_left(certificate: str, now: datetime) -> float:
    """Return how many days a certificate (PEM) is still valid, below 0 when it no longer is."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise CertificateError("there is no certificate") from None
    return (found.not_valid_after_utc - now) / timedelta(days=1)


def utc_now() -> datetime:
    """Return the time that certificates are compared with."""
    return datetime.now(UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    every: Sequence[str] = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in every})


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key(authority: Authority) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(authority.key.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the authority's key is of a kind that was never made here")
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
