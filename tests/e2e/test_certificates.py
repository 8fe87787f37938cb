"""Every connection is encrypted, and each end that must knows whom it speaks to."""

import csv
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509

from certificates import Authority, Subject, new_authority, sign, utc_now
from identities import Identity
from testbed import hands
from tests.e2e import deadlines
from tests.e2e import testbed as bed
from tests.e2e.test_secrets import PLANTED

PROXY = bed.HOSTS["haproxy"].address
# Of each service its user, and the host.
SERVICES = [(owner, node) for node in bed.NODES for owner in ("etcd", "postgres")]
SERVICES += [("pgbouncer", name) for name, host in bed.HOSTS.items() if "haproxy" in host.groups]


# --- clients --------------------------------------------------------------------------------------


def test_client_knows_the_server_by_address_and_by_name(cluster: None) -> None:
    for port in (bed.RW, bed.RO):
        for options in ({}, {"host": "haproxy", "hostaddr": PROXY}):
            with bed.connect(port, **options) as connection:
                query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                row = connection.execute(query).fetchone()
                assert row
                assert row[0]
                assert row[1] in ("TLSv1.2", "TLSv1.3")


def test_client_refuses_another_name_and_another_authority(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        bed.connect(bed.RW, host="elsewhere.example", hostaddr=PROXY)
    other = tmp_path / "ca.crt"
    other.write_text(new_authority("pgha", 30, utc_now()).certificate)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        bed.connect(bed.RW, sslrootcert=str(other))


def test_clients_find_the_authority_on_every_host(cluster: None) -> None:
    for host in bed.HOSTS:
        found = bed.on(host, "cat /etc/pgha/ca.crt", user="nobody")
        assert found == bed.secrets()["authority_certificate"].strip()


# --- keys -----------------------------------------------------------------------------------------


def test_every_service_of_every_host_has_a_key_of_its_own(cluster: None) -> None:
    keys = set()
    for owner, host in SERVICES:
        found = Identity(owner, host)
        assert bed.on(host, f"stat -c '%a %U' {found.key}") == f"600 {owner}"
        public = bed.on(host, f"openssl pkey -in {found.key} -pubout")
        assert bed.on(host, f"openssl x509 -in {found.certificate} -noout -pubkey") == public
        keys.add(public)
    assert len(keys) == len(SERVICES)


def test_the_authoritys_key_is_on_no_host(cluster: None) -> None:
    places = "/data /dev/shm /etc /home /opt /root /run /srv /tmp /usr/local /var"
    search = f"grep -rslF -D skip -f - {places}"
    for host in bed.HOSTS:
        bed.on(host, f"echo {PLANTED} >/var/tmp/planted")
        try:
            planted = bed.on(host, search, check=False, stdin=PLANTED)
        finally:
            bed.on(host, "rm /var/tmp/planted")
        assert "/var/tmp/planted" in planted.splitlines(), host  # noqa: S108
        found = bed.on(host, search, check=False, stdin=bed.telltales()["authority_key"])
        assert found == "", host


# --- versions -------------------------------------------------------------------------------------

ALERTS = {
    "-tls1_1 -cipher ALL:@SECLEVEL=0": "alert protocol version",
    "-tls1_2 -cipher ECDHE-ECDSA-NULL-SHA:AECDH-AES256-SHA:@SECLEVEL=0": "alert handshake failure",
}
ETCD = Identity("etcd", "node2")
SERVERS = [("haproxy", "node1", 5432, "-starttls postgres"), ("haproxy", "node1", 8008, ""),
           ("node2", "node1", 2379, f"-cert {ETCD.certificate} -key {ETCD.key}"),
           ("node2", "node1", 2380, f"-cert {ETCD.certificate} -key {ETCD.key}")]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "port", "options"), SERVERS)
def test_old_versions_and_weak_ciphers_are_refused(
    cluster: None, source: str, target: str, port: int, options: str
) -> None:
    ask = f"timeout 10 openssl s_client -connect {bed.HOSTS[target].address}:{port} {options}"
    good = bed.on(source, f"{ask} -tls1_2 </dev/null 2>&1", check=False)
    assert "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES" in good
    for weak, alert in ALERTS.items():
        told = bed.on(source, f"{ask} {weak} </dev/null 2>&1", check=False)
        assert alert in told, weak


# --- HAProxy --------------------------------------------------------------------------------------


def checked(server: str) -> str:
    """Return how HAProxy sees a server of the backend for reads, such as "UP L7OK"."""
    page = bed.on("haproxy", "curl --silent 'http://127.0.0.1:7000/;csv'")
    for row in csv.DictReader(page.removeprefix("# ").splitlines()):
        if (row["pxname"], row["svname"]) == ("ro_replicas", server):
            return f"{row['status']} {row['check_status'].removeprefix('* ')}"
    return ""


def test_haproxy_takes_nobodys_word_for_a_member(cluster: None) -> None:
    config = bed.on("haproxy", "cat /etc/haproxy/haproxy.cfg")
    servers = [line for line in config.splitlines() if line.strip().startswith("server ")]
    assert len(servers) == 4 * len(bed.NODES)
    assert all("check-ssl verify required" in line and "verifyhost" in line for line in servers)


def test_member_with_a_certificate_of_another_authority_gets_no_sessions(cluster: None) -> None:
    victim = next(node for node in bed.NODES if node != bed.primary())
    bed.wait_until("the replica's good check", lambda: checked(victim) == "UP L7OK", 60)
    home = Identity("postgres", victim).directory
    names = f"subjectAltName=DNS:{victim},IP:{bed.HOSTS[victim].address}"
    bed.on(
        victim,
        f"cd {home} && cp -a tls.key /root/tls.key && cp -a tls.crt /root/tls.crt"
        f" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        f" -subj /OU=postgres@{victim} -addext {names} -keyout /root/new.key -out /root/new.crt"
        " && cat /root/new.key >tls.key && cat /root/new.crt >tls.crt"
        " && systemctl reload patroni",
    )
    try:
        bed.wait_until(
            "HAProxy's refusal", lambda: checked(victim) == "DOWN L6RSP", deadlines.SERVICE_BACK
        )
    finally:
        bed.on(
            victim,
            f"cd {home} && mv /root/tls.key /root/tls.crt . && rm /root/new.key /root/new.crt"
            " && systemctl reload patroni",
        )
    bed.wait_until(
        "the replica's return", lambda: checked(victim) == "UP L7OK", deadlines.SERVICE_BACK
    )


# --- renewal --------------------------------------------------------------------------------------


@contextmanager
def writing(new_sessions: bool, port: int = bed.RW, **options: str) -> Iterator[list[str]]:
    """Write until the block ends: in one long session, and in a new one each time if wished.

    The options are libpq's. The list has "ok" for each write, and what PostgreSQL or libpq said
    for each that failed.
    """
    done, found = threading.Event(), list[str]()

    def run() -> None:
        with bed.connect(port, **options) as long_session:
            while not done.wait(0.1):
                try:
                    long_session.execute(WRITE)
                    found.append("ok")
                    if new_sessions:
                        with bed.connect(port, **options) as session:
                            session.execute(WRITE)
                        found.append("ok")
                except psycopg.Error as error:
                    found.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


WRITE = "SELECT pg_logical_emit_message(true, 'test', 'write')"


def serials() -> list[str]:
    """Return the serial numbers of all certificates."""
    return [
        bed.on(host, f"openssl x509 -in {Identity(owner, host).certificate} -noout -serial")
        for owner, host in SERVICES
    ]


def public_keys() -> set[str]:
    """Return the public keys of all services."""
    return {
        bed.on(host, f"openssl pkey -in {Identity(owner, host).key} -pubout")
        for owner, host in SERVICES
    }


@pytest.mark.long
def test_certificates_are_renewed_without_a_lost_write(cluster: None) -> None:
    before, keys, leader = serials(), public_keys(), bed.primary()
    with writing(new_sessions=True) as writes:
        run = bed.pyinfra("day2/rotate_certificates.py", "-y")
    assert run.code == 0, run.stderr[-4000:]
    assert len(writes) > 10
    assert set(writes) == {"ok"}
    kept = serials()
    assert all(old != new for old, new in zip(before, kept, strict=True))
    assert keys.isdisjoint(public_keys())
    assert bed.primary() == leader
    # What is on the disk is what is shown: nothing waits for a restart to take it.
    own = f"-cert {ETCD.certificate} -key {ETCD.key}"
    pooler = kept[SERVICES.index(("pgbouncer", "haproxy"))]
    for number, host, port, options in (
        (kept[0], "node1", 2379, own),
        (kept[0], "node1", 2380, own),
        (kept[1], "node1", 5432, "-starttls postgres"),
        (kept[1], "node1", 8008, ""),
        (pooler, "haproxy", bed.POOLED, "-starttls postgres"),
    ):
        where = f"{bed.HOSTS[host].address}:{port}"
        ask = f"openssl s_client -connect {where} {options} </dev/null 2>/dev/null"
        assert bed.on("node2", f"{ask} | openssl x509 -noout -serial") == number, port
    assert bed.deploy().changes == []


ROTATE = "day2/rotate_certificates.py"


def killed_on_its_way(others: list[str]) -> None:
    """Prepare the next authority, and kill that when some of the hosts trust it and some do not."""
    trusted = "grep -c BEGIN /etc/pgha/ca.crt"
    run = subprocess.Popen(
        bed.command(ROTATE, "-y", "--data", "authority=prepare"), cwd=bed.ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        bed.wait_until("trust in both", lambda: bed.on(others[0], trusted) == "2", deadlines.DEPLOY)
    finally:
        run.kill()
        run.wait()
    assert bed.on(others[-1], trusted) == "1"


def started() -> list[str]:
    """Return when each PostgreSQL started."""
    return [bed.sql(node, "SELECT pg_postmaster_start_time()") for node in bed.NODES]


def believed(node: str) -> None:
    """Fail unless what a node shows, and takes from clients, is of the authority in its file."""
    name = bed.on(node, "openssl x509 -in /etc/pgha/ca.crt -noout -subject -nameopt RFC2253")
    for owner, port, before in (
        ("etcd", 2379, ""),
        ("etcd", 2380, ""),
        ("postgres", 8008, ""),
        ("postgres", 5432, "-starttls postgres"),
    ):
        own = Identity(owner, node)
        said = bed.on(
            node,
            f"openssl s_client -connect {bed.HOSTS[node].address}:{port} {before} -nameopt RFC2253"
            f" -cert {own.certificate} -key {own.key} -CAfile /etc/pgha/ca.crt </dev/null 2>&1",
        )
        assert "Verify return code: 0 (ok)" in said, (node, port)
        wanted = set(re.findall("^CN=.+ authority .+$", said, re.MULTILINE))
        # Patroni names nobody whom it takes: Python does not send it.
        assert wanted == (set() if port == 8008 else {name.removeprefix("subject=")}), (node, port)


@pytest.mark.long
def test_the_authority_is_replaced_without_a_lost_write(cluster: None, tmp_path: Path) -> None:
    leader, before, since = bed.primary(), bed.secrets(), started()
    keys = public_keys()
    client, former = tmp_path / "ca.crt", tmp_path / "former.crt"

    def hand_out() -> None:
        staged = tmp_path / "new"
        staged.write_text(bed.on("haproxy", "cat /etc/pgha/ca.crt", user="nobody"))
        staged.replace(client)  # libpq reads it at any time

    hand_out()
    former.write_text(client.read_text())
    others = [node for node in bed.NODES if node != leader]
    with (
        writing(new_sessions=True, sslrootcert=str(client)) as writes,
        writing(new_sessions=True, port=bed.POOLED, sslrootcert=str(client)) as pooled,
    ):
        killed_on_its_way([*others, leader])
        assert bed.secrets()["authority_certificate"].startswith(before["authority_certificate"])
        bed.deploy()  # keeps what it finds, and brings it to all
        assert all(bed.on(node, "grep -c BEGIN /etc/pgha/ca.crt") == "2" for node in bed.HOSTS)
        prepared = bed.pyinfra(ROTATE, "-y", "--data", "authority=prepare")
        assert prepared.code == 0, prepared.stderr[-4000:]
        assert "give /etc/pgha/ca.crt" in prepared.stdout
        hand_out()
        replaced = bed.pyinfra(ROTATE, "-y", "--data", "authority=replace")
        assert replaced.code == 0, replaced.stderr[-4000:]
    for written in (writes, pooled):
        assert len(written) > 10
        assert set(written) == {"ok"}
    assert bed.primary() == leader
    assert started() == since  # no PostgreSQL was restarted
    assert keys.isdisjoint(public_keys())
    after = bed.secrets()
    assert after["authority_certificate"] not in before["authority_certificate"]
    assert {name for name in after if after[name] != before[name]} == {
        "authority_key", "authority_certificate",
    }  # fmt: skip
    for host in bed.HOSTS:
        assert f"{bed.on(host, 'cat /etc/pgha/ca.crt')}\n" == after["authority_certificate"]
    for node in bed.NODES:
        believed(node)
    for key in (before["authority_key"], after["authority_key"]):
        assert key.splitlines()[2] not in prepared.stdout + prepared.stderr
        assert key.splitlines()[2] not in replaced.stdout + replaced.stderr
    for good in (
        client,
        hands.authority(bed.NAME),
    ):  # who has both may take the new one alone at leisure
        for port in (bed.RW, bed.POOLED):
            bed.connect(port, sslrootcert=str(good)).close()
    for port in (bed.RW, bed.POOLED):
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            bed.connect(port, sslrootcert=str(former))
    run = bed.pyinfra("verify.py", "-y", "--data", "verify_format=json")
    proofs = {proof["name"]: proof["status"] for proof in json.loads(run.stdout)["proofs"]}
    assert (proofs["authority"], proofs["certificates"]) == ("ok", "ok")
    assert bed.deploy().changes == []


@pytest.mark.long
def test_passwords_are_renewed_without_a_lost_write(cluster: None) -> None:
    before, leader = bed.secrets(), bed.primary()
    with writing(new_sessions=False) as writes:
        run = bed.pyinfra("day2/rotate_passwords.py", "-y")
    assert run.code == 0, run.stderr[-4000:]
    assert len(writes) > 10
    assert set(writes) == {"ok"}
    assert bed.primary() == leader
    after = bed.secrets()
    kept = {name for name in after if after[name] == before[name]}
    assert kept <= {"authority_key", "authority_certificate", "backup_cipher"}
    for name, secret in [*before.items(), *after.items()]:
        if name not in kept:
            assert secret not in run.stdout + run.stderr, f"{name} is in the output"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        bed.connect(bed.RW, password=before["app"])
    bed.connect(bed.RW).close()
    assert bed.deploy().changes == []


def certificates_proof(*options: str) -> str:
    """Return the status of the proof of certificates."""
    run = bed.pyinfra("verify.py", "-y", "--data", "verify_format=json", *options)
    proofs = {proof["name"]: proof["status"] for proof in json.loads(run.stdout)["proofs"]}
    return str(proofs["certificates"])


def test_proof_warns_before_a_certificate_ends(cluster: None) -> None:
    # Of 825 days less than a third is left, since these are good for 90.
    assert certificates_proof("--data", "tls_certificate_days=825") == "warning"


def certified(host: str, identity: Identity, when: datetime) -> None:
    """Put another certificate in the place of a service's, as good as it but of another time."""
    secrets = bed.secrets()
    request = bed.on(host, f"openssl req -new -key {identity.key} -subj /CN=pgha")
    old = x509.load_pem_x509_certificate(bed.on(host, f"cat {identity.certificate}").encode())
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = tuple(names.get_values_for_type(x509.DNSName))
    addresses = tuple(map(str, names.get_values_for_type(x509.IPAddress)))
    subject = Subject(identity.subject.name, dns, addresses)
    authority = Authority(secrets["authority_key"], secrets["authority_certificate"])
    pem = sign(authority, request, subject, 90, when)
    bed.on(host, f"cat >{identity.certificate}", stdin=pem)


def test_certificate_that_nobody_was_told_of_is_shown_by_the_next_deploy(cluster: None) -> None:
    # As a run leaves it that was killed between writing the file and the reload.
    certified("node2", Identity("postgres", "node2"), utc_now())
    assert certificates_proof() == "failed"
    assert bed.deploy().changes == ["Show the new certificates"]
    assert certificates_proof() == "ok"


@pytest.mark.long
def test_a_deploy_mends_certificates_that_have_all_ended(cluster: None) -> None:
    for service, host in SERVICES:
        certified(host, Identity(service, host), utc_now() - timedelta(days=100))
    for service, host in SERVICES:
        unit = {"postgres": "patroni"}.get(service, service)
        bed.on(host, f"systemctl restart --no-block {unit}")
    with pytest.raises(psycopg.OperationalError):
        bed.connect(bed.RW)
    assert certificates_proof() == "failed"
    bed.deploy()
    bed.connect(bed.RW).close()
    assert certificates_proof() == "ok"
    assert bed.deploy().changes == []
