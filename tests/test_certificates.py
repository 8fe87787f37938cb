"""The authority and what it signs: bound to what the cluster knows, and good for TLS both ways."""

import base64
import re
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certificates import (
    BACKDATED,
    Authority,
    CertificateError,
    Subject,
    days_left,
    flaw,
    new_authority,
    sign,
    utc_now,
)
from facts.identities import Identities
from operations import certificates
from tests import harness
from tests.clusters import (
    AUTHORITY,
    FIVE_HOSTS,
    KEY,
    REQUEST,
    SECRETS,
    STRANGER,
    described,
    requested,
)

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
NODE1 = Subject("postgres@node1", ("node1", "localhost"), ("10.0.0.11", "127.0.0.1"))


def loaded(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def signed(subject: Subject = NODE1, *, request: str = REQUEST, by: Authority = AUTHORITY,
           days: int = 90, now: datetime = NOW) -> str:  # fmt: skip
    return sign(by, request, subject, days, now)


# --- the authority ------------------------------------------------------------------------------


def test_the_authority_signs_hosts_and_no_further_authority() -> None:
    found = loaded(new_authority("shop", 3650, NOW).certificate)
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign) == (True, True)
    assert not usage.value.digital_signature
    found.verify_directly_issued_by(found)


def test_the_authority_has_the_name_of_no_host() -> None:
    found = loaded(new_authority("shop", 3650, NOW).certificate)
    assert re.fullmatch("CN=shop authority 2027-03-01 [0-9a-f]{8}", found.subject.rfc4514_string())
    with pytest.raises(x509.ExtensionNotFound):
        found.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_no_two_authorities_are_alike() -> None:
    first, second = new_authority("shop", 3650, NOW), new_authority("shop", 3650, NOW)
    assert first.key != second.key
    assert loaded(first.certificate).serial_number != loaded(second.certificate).serial_number
    assert loaded(first.certificate).subject != loaded(second.certificate).subject


def test_an_authority_outlives_what_it_signs_by_its_days() -> None:
    found = loaded(new_authority("shop", 3650, NOW).certificate)
    assert found.not_valid_after_utc == NOW + timedelta(days=3650)
    assert found.not_valid_before_utc == NOW - BACKDATED


def test_no_repr_shows_a_key() -> None:
    body = AUTHORITY.key.splitlines()[1]
    for shown in (AUTHORITY, SECRETS, SECRETS.authority, {"authority": AUTHORITY}, [SECRETS]):
        assert body not in f"{shown!r} {shown}"
        assert "PRIVATE KEY" not in f"{shown!r} {shown}"


# --- what it signs ------------------------------------------------------------------------------


def test_a_certificate_has_the_clusters_names_whatever_the_request_asks_for() -> None:
    greedy = requested(KEY, "root", "node2", "evil.example")
    found = loaded(signed(request=greedy))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node1", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        IPv4Address("10.0.0.11"),
        IPv4Address("127.0.0.1"),
    ]
    assert len(list(names)) == 4
    assert found.subject.rfc4514_string() == "OU=postgres@node1"
    assert found.public_key() == KEY.public_key()


def test_a_certificate_has_no_common_name_that_etcd_would_take_for_a_user() -> None:
    assert loaded(signed()).subject.get_attributes_for_oid(NameOID.COMMON_NAME) == []


def test_a_certificate_serves_for_both_ends_and_signs_nothing() -> None:
    found = loaded(signed()).extensions
    usages = found.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    constraints = found.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    usage = found.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature) == (True, True)
    assert not usage.value.key_cert_sign


def test_a_certificate_is_good_at_once_where_the_clock_is_behind() -> None:
    found = loaded(signed())
    assert timedelta(minutes=59) < BACKDATED < timedelta(days=1)
    assert found.not_valid_before_utc == NOW - BACKDATED
    assert found.not_valid_after_utc == NOW + timedelta(days=90)


def test_every_certificate_has_a_number_of_its_own() -> None:
    assert len({loaded(signed()).serial_number for _ in range(5)}) == 5


def _tampered(request: str) -> str:
    """Return a request that asks for another name than the one that its key signed."""
    der = x509.load_pem_x509_csr(request.encode()).public_bytes(serialization.Encoding.DER)
    assert der.count(b"pgha") == 1
    body = base64.encodebytes(der.replace(b"pgha", b"root")).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


BAD_REQUESTS = {
    "tampered": _tampered(REQUEST),
    "cut_off": REQUEST[: len(REQUEST) // 2],
    "nothing": "",
    "a_certificate": AUTHORITY.certificate,
    "no_text_of_this_kind": "-----BEGIN CERTIFICATE REQUEST-----\n?\n",
}


@pytest.mark.parametrize("request_", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_refuses_a_request_that_is(request_: str) -> None:
    with pytest.raises(CertificateError, match="request of postgres@node1 is damaged"):
        signed(request=request_)


def test_refuses_an_authority_of_another_kind() -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(CertificateError, match="never made here") as caught:
        signed(by=Authority(key.decode(), AUTHORITY.certificate))
    assert "PRIVATE" not in str(caught.value)


def test_no_certificate_outlives_its_authority() -> None:
    short = new_authority("shop", 40, NOW)
    assert loaded(signed(by=short)).not_valid_after_utc == NOW + timedelta(days=40)
    assert loaded(signed(by=short, days=39)).not_valid_after_utc == NOW + timedelta(days=39)


def test_an_authority_that_has_ended_signs_nothing() -> None:
    short = new_authority("shop", 40, NOW)
    assert signed(by=short, now=NOW + timedelta(days=40, seconds=-1))
    with pytest.raises(CertificateError, match="the authority ended on 2027-04-10"):
        signed(by=short, now=NOW + timedelta(days=40))


def test_the_first_of_two_authorities_signs() -> None:
    both = Authority(AUTHORITY.key + STRANGER.key, AUTHORITY.certificate + STRANGER.certificate)
    loaded(signed(by=both)).verify_directly_issued_by(loaded(AUTHORITY.certificate))
    assert flaw(signed(by=both), REQUEST, both, NODE1, NOW) is None


# --- what must be replaced ----------------------------------------------------------------------

# 90 days and the hour before them; a third of that is left from here on.
BORDER = NOW + timedelta(days=90) - (timedelta(days=90) + BACKDATED) / 3
OTHER_KEY = requested(ec.generate_private_key(ec.SECP256R1()))
FLAWS: dict[str, tuple[str, str, datetime, str | None]] = {
    "good": (signed(), REQUEST, NOW, None),
    "good_until_the_border": (signed(), REQUEST, BORDER, None),
    "past_the_border": (signed(), REQUEST, BORDER + timedelta(seconds=1), "it ends on 2027-05-30"),
    "ended": (signed(), REQUEST, NOW + timedelta(days=91), "it ends on 2027-05-30"),
    "none": ("", REQUEST, NOW, "there is none"),
    "no_certificate": ("-----BEGIN CERTIFICATE-----\n?\n", REQUEST, NOW, "there is none"),
    "cut_off": (signed()[:200], REQUEST, NOW, "there is none"),
    "without_names": (AUTHORITY.certificate, REQUEST, NOW, "there is none"),
    "no_key": (signed(), "", NOW, "there is none"),
    "another_authority": (signed(by=STRANGER), REQUEST, NOW, "another authority signed it"),
    "another_authoritys_name": (
        signed(by=new_authority("shop", 3650, NOW)), REQUEST, NOW, "another authority signed it",
    ),
    "another_key": (signed(), OTHER_KEY, NOW, "it belongs to another key"),
    "another_service": (
        signed(Subject("etcd@node1", NODE1.dns, NODE1.addresses)), REQUEST, NOW,
        "its names are not the host's",
    ),
    "another_address": (
        signed(Subject(NODE1.name, NODE1.dns, ("10.0.0.99", "127.0.0.1"))), REQUEST, NOW,
        "its names are not the host's",
    ),
    "one_name_more": (
        signed(Subject(NODE1.name, (*NODE1.dns, "spare"), NODE1.addresses)), REQUEST, NOW,
        "its names are not the host's",
    ),
    "one_name_less": (
        signed(Subject(NODE1.name, ("node1",), NODE1.addresses)), REQUEST, NOW,
        "its names are not the host's",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("pem", "request_", "now", "why"), FLAWS.values(), ids=FLAWS)
def test_flaw_of_a_certificate(pem: str, request_: str, now: datetime, why: str | None) -> None:
    assert flaw(pem, request_, AUTHORITY, NODE1, now) == why


@pytest.mark.parametrize("days", [2, 30, 90, 397, 825])
def test_no_new_certificate_is_replaced_at_once(days: int) -> None:
    assert flaw(signed(days=days), REQUEST, AUTHORITY, NODE1, NOW) is None


def test_a_certificate_that_outlives_its_authority_is_replaced() -> None:
    short = new_authority("shop", 40, NOW)
    key_lives_on = Authority(short.key, _shorter(short, 39))
    assert flaw(signed(by=short), REQUEST, short, NODE1, NOW) is None
    assert flaw(signed(by=short), REQUEST, key_lives_on, NODE1, NOW) == "it outlives its authority"


def test_a_certificate_that_ends_with_its_authority_is_left_alone() -> None:
    short = new_authority("shop", 40, NOW)
    last = signed(by=short)
    for days in (0, 20, 35, 39):
        assert flaw(last, REQUEST, short, NODE1, NOW + timedelta(days=days)) is None
    before = signed(by=short, days=39)
    assert flaw(before, REQUEST, short, NODE1, NOW + timedelta(days=35)) == "it ends on 2027-04-09"


def _shorter(authority: Authority, days: int) -> str:
    """Return the certificate of the same authority, made anew for another time."""
    found, key = (
        loaded(authority.certificate),
        serialization.load_pem_private_key(authority.key.encode(), None),
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made = x509.CertificateBuilder(
        found.issuer, found.subject, found.public_key(), 1, NOW, NOW + timedelta(days=days)
    )
    return made.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM).decode()


def test_days_left_until_and_beyond_the_end() -> None:
    assert days_left(signed(), NOW) == 90
    assert days_left(signed(), NOW + timedelta(days=89, hours=12)) == 0.5
    assert days_left(signed(), NOW + timedelta(days=93)) == -3


@pytest.mark.parametrize("pem", ["", "-----BEGIN CERTIFICATE-----\n?\n", REQUEST])
def test_days_left_of_nothing_is_an_error(pem: str) -> None:
    with pytest.raises(CertificateError):
        days_left(pem, NOW)


def test_now_knows_its_time_zone() -> None:
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert utc_now().utcoffset() == timedelta(0)


# --- TLS ----------------------------------------------------------------------------------------

Trust = Callable[..., ssl.SSLContext]


@pytest.fixture
def context(tmp_path: Path) -> Trust:
    """Make one end of a connection: what it shows, and whom it believes."""

    def made(side: int, shows: Authority | None, believes: Authority, subject: Subject = NODE1,
             now: datetime | None = None) -> ssl.SSLContext:  # fmt: skip
        found = ssl.SSLContext(side)
        found.verify_mode = ssl.CERT_REQUIRED
        found.load_verify_locations(cadata=believes.certificate)
        if shows:
            file = tmp_path / "shown.pem"
            pem = signed(subject, by=shows, now=now or utc_now())
            file.write_text(private(KEY) + pem)
            found.load_cert_chain(file)
        return found

    return made


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[Any, Any]:
    """Connect in memory; return the certificates that server and client saw of each other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    # In TLS 1.3 a client is done before the server has looked at its certificate.
    ends[1].write(b"welcome")
    assert ends[0].read(7) == b"welcome"
    return ends[1].getpeercert(), ends[0].getpeercert()


@pytest.mark.parametrize("name", ["node1", "localhost", "10.0.0.11", "127.0.0.1"])
def test_both_ends_prove_who_they_are(name: str, context: Trust) -> None:
    server = context(ssl.PROTOCOL_TLS_SERVER, AUTHORITY, AUTHORITY)
    subject = Subject("postgres@node2", ("node2",), ("10.0.0.12",))
    client = context(ssl.PROTOCOL_TLS_CLIENT, AUTHORITY, AUTHORITY, subject)
    seen_by_server, seen_by_client = shake_hands(server, client, name)
    assert ("DNS", "node2") in seen_by_server["subjectAltName"]
    assert ("DNS", "node1") in seen_by_client["subjectAltName"]


@pytest.mark.parametrize("name", ["node2", "10.0.0.12", "postgres@node1"])
def test_a_server_is_not_taken_for_another(name: str, context: Trust) -> None:
    server = context(ssl.PROTOCOL_TLS_SERVER, AUTHORITY, AUTHORITY)
    client = context(ssl.PROTOCOL_TLS_CLIENT, AUTHORITY, AUTHORITY)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(server, client, name)


@pytest.mark.parametrize(
    ("server_shows", "client_shows", "says"),
    [
        (STRANGER, AUTHORITY, "certificate verify failed"),
        (AUTHORITY, STRANGER, "certificate verify failed"),
        (AUTHORITY, None, "peer did not return a certificate"),
    ],
    ids=["server", "client", "client_without_any"],
)
def test_a_stranger_is_refused(
    server_shows: Authority, client_shows: Authority | None, says: str, context: Trust
) -> None:
    server = context(ssl.PROTOCOL_TLS_SERVER, server_shows, AUTHORITY)
    client = context(ssl.PROTOCOL_TLS_CLIENT, client_shows, AUTHORITY)
    with pytest.raises(ssl.SSLError, match=says):
        shake_hands(server, client, "node1")


def test_a_certificate_that_has_ended_is_refused(context: Trust) -> None:
    past = utc_now() - timedelta(days=91)
    server = context(ssl.PROTOCOL_TLS_SERVER, AUTHORITY, AUTHORITY, now=past)
    client = context(ssl.PROTOCOL_TLS_CLIENT, AUTHORITY, AUTHORITY)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(server, client, "node1")


def test_a_host_cannot_vouch_for_another(context: Trust, tmp_path: Path) -> None:
    host = Authority(private(KEY), signed(now=utc_now()))
    server = context(ssl.PROTOCOL_TLS_SERVER, host, AUTHORITY)
    chain = private(KEY) + signed(by=host, now=utc_now()) + host.certificate
    (tmp_path / "chain.pem").write_text(chain)
    server.load_cert_chain(tmp_path / "chain.pem")
    client = context(ssl.PROTOCOL_TLS_CLIENT, AUTHORITY, AUTHORITY)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "node1")


# --- what arrives on hosts ----------------------------------------------------------------------


@pytest.mark.parametrize("host", FIVE_HOSTS)
def test_a_host_gets_good_certificates_and_no_key(host: str) -> None:
    case = {"host": host, "facts": {"Component": {"paths": "none"}, "Identities": "key"}}
    outcome = harness.run(certificates.issued, case)
    cluster = described()
    identities = cluster.identities(cluster.host(host))
    assert outcome.files.keys() == {"/etc/pgha/ca.crt", *(one.certificate for one in identities)}
    assert outcome.files["/etc/pgha/ca.crt"] == AUTHORITY.certificate
    for one in identities:
        pem = outcome.files[one.certificate]
        assert flaw(pem, REQUEST, AUTHORITY, one.subject, utc_now()) is None
        assert 89.9 < days_left(pem, utc_now()) <= cluster.tls.certificate_days
    sent = "".join([*map(str, outcome.commands), *map(harness.stdin, outcome.commands)])
    assert "PRIVATE KEY" not in sent
    assert AUTHORITY.key.splitlines()[1] not in sent


def test_etcd_and_postgres_are_known_by_where_they_are_reached() -> None:
    cluster = described()
    etcd, postgres = cluster.identities(cluster.host("node2"))
    assert (etcd.owner, etcd.dns, etcd.addresses) == (
        "etcd", ("node2", "localhost"), ("10.0.0.12", "127.0.0.1"),
    )  # fmt: skip
    assert (postgres.owner, postgres.dns, postgres.addresses) == (
        "postgres", ("node2", "localhost", "haproxy"), ("10.0.0.12", "127.0.0.1", "10.0.0.31"),
    )  # fmt: skip
    (pooler,) = cluster.identities(cluster.host("haproxy"))
    assert (pooler.owner, pooler.dns, pooler.addresses) == (
        "pgbouncer", ("haproxy", "localhost"), ("10.0.0.31", "127.0.0.1"),
    )  # fmt: skip
    assert cluster.identities(cluster.host("pgbackrest")) == ()


def test_keys_made_as_on_hosts_are_read_and_certified(tmp_path: Path) -> None:
    key = tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-out", key], check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    found = _asked(tmp_path)
    owner = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    assert found["access"] == f"600 {owner}"
    pem = signed(request=found["request"])
    (tmp_path / "tls.crt").write_text(pem)
    assert _asked(tmp_path)["certificate"] == pem
    assert flaw(pem, _asked(tmp_path)["request"], AUTHORITY, NODE1, NOW) is None


def test_a_key_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\n?\n")
    assert _asked(tmp_path)["request"] == ""


def _asked(directory: Path) -> Any:
    fact = Identities()
    command = fact.command(directories=[str(directory)]).get_raw_value()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return fact.process(done.stdout.splitlines())[str(directory)]
