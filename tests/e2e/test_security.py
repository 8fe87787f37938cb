"""Nobody may do what is not theirs: etcd, Patroni, PostgreSQL and the hosts refuse it.

docs/security.md lists the checks these tests belong to. A stranger is stopped by the firewall; to
see that a service refuses by itself, too, it is asked from a host that the firewall lets through.
They change nothing where the promise holds, so none waits for a healthy cluster.
"""

import re

import psycopg
import pytest
import yaml

from identities import AUTHORITY, Identity
from tests.e2e import testbed as bed

NODE1 = bed.HOSTS["node1"].address
ETCD, POSTGRES = Identity("etcd", "node1"), Identity("postgres", "node1")


def shown_by(identity: Identity) -> str:
    """Return curl's and etcdctl's options for the certificate of a service."""
    return f"--cert {identity.certificate} --key {identity.key}"


# --- etcd -----------------------------------------------------------------------------------------


def etcdctl(question: str, user: str = "", password: str = "") -> str:
    """Return etcd's answer to somebody with a good certificate, and perhaps a user."""
    options = f"--cacert {AUTHORITY} {shown_by(POSTGRES)} --command-timeout=5s"
    if user:
        options += f" --user {user}"
    shell = f"etcdctl {options} --endpoints https://{NODE1}:2379 {question} 2>&1"
    if user:
        shell = f"read -r ETCDCTL_PASSWORD; export ETCDCTL_PASSWORD; {shell}"
    return bed.on("node2", shell, check=False, stdin=f"{password}\n")


def patronis_user() -> tuple[str, str]:
    """Return name and password of the user of etcd that Patroni is."""
    settings = yaml.safe_load(bed.on("node1", "cat /etc/patroni/config.yml"))["etcd3"]
    return settings["username"], settings["password"]


@pytest.mark.parametrize("port", [2379, 2380])
def test_etcd_speaks_with_holders_of_a_certificate_only(deployed: bed.Run, port: int) -> None:
    path = f"{NODE1}:{port}/{'version' if port == 2379 else 'members'}"
    curl = f"{bed.CURL} --http1.1 --tls-max 1.2"
    with_one = bed.on("node2", f"{curl} {shown_by(ETCD)} https://{path}")
    assert "etcdserver" in with_one or "peerURLs" in with_one
    without = bed.on("node2", f"{curl} https://{path} 2>&1", check=False)
    assert "alert" in without
    assert "etcdserver" not in without
    assert "peerURLs" not in without
    plain = bed.on("node2", f"{curl} --fail http://{path} 2>&1 || echo refused", check=False)
    assert plain.endswith("refused")


@pytest.mark.parametrize(
    "question",
    [
        "put /service/pgha/config 1",
        "get / --prefix",
        "user list",
        "endpoint status",
        "auth disable",
    ],
)
def test_etcd_refuses_a_certificate_without_a_user(deployed: bed.Run, question: str) -> None:
    assert re.search("permission denied|user name is empty", etcdctl(question))


def test_etcds_http_gateway_refuses_a_certificate_without_a_user(deployed: bed.Run) -> None:
    body = '{"key": "L3NlcnZpY2UveA==", "value": "MQ=="}'
    url = f"https://{NODE1}:2379/v3/kv/put"
    answer = bed.on("node2", f"{bed.CURL} {shown_by(POSTGRES)} -d '{body}' {url}")
    assert "user name is empty" in answer


@pytest.mark.parametrize("question", ["put /x 1", "get / --prefix", "user list", "auth disable"])
def test_patronis_user_has_its_own_keys_only(deployed: bed.Run, question: str) -> None:
    user, password = patronis_user()
    assert etcdctl("get --print-value-only /service/pgha/leader", user, password) in bed.NODES
    assert "permission denied" in etcdctl(question, user, password)


def test_etcd_refuses_a_wrong_password(deployed: bed.Run) -> None:
    user, _ = patronis_user()
    assert "authentication failed" in etcdctl("get /service/pgha/leader", user, "wrong")


def test_etcd_is_new_enough_to_be_guarded(deployed: bed.Run) -> None:
    # Older ones let strangers and users without rights through (GHSA-q8m4, GHSA-rfx7, GHSA-x35m).
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", bed.on("node1", "etcd --version"))
    assert found
    major, minor, patch = (int(number) for number in found.groups())
    floor = {(3, 4): 44, (3, 5): 30, (3, 6): 11}.get((major, minor), 0)
    assert (major, minor) >= (3, 4)
    assert patch >= floor


# --- Patroni's REST interface ---------------------------------------------------------------------

CHANGES = (
    "PATCH /config", "PUT /config", "POST /switchover", "POST /failover", "POST /restart",
    "POST /reinitialize", "POST /reload", "DELETE /switchover", "DELETE /restart",
)  # fmt: skip


def rest(source: str, request: str, options: str, password: str) -> str:
    """Return the status and the body that node1's Patroni answers an empty request with."""
    method, path = request.split()
    shell = f"{bed.CURL} {options} -X {method} -d '{{}}' -w '%{{stderr}}%{{http_code}} ' -K -"
    config = f'user = "patroni:{password}"\n' if password else ""
    return bed.on(source, f"{shell} https://{NODE1}:8008{path} 2>&1", check=False, stdin=config)


@pytest.mark.parametrize(
    ("source", "has_certificate", "has_password", "says"),
    [
        ("haproxy", False, True, "403 .*Access is denied|Access is denied.*403"),
        ("node2", False, True, "client certificate required"),
        ("node2", True, None, "no auth header received"),
        ("node2", True, False, "not authenticated"),
    ],
    ids=["no_member", "no_certificate", "no_password", "wrong_password"],
)
def test_patroni_changes_nothing_for(
    deployed: bed.Run, source: str, has_certificate: bool, has_password: bool | None, says: str
) -> None:
    options = shown_by(POSTGRES) if has_certificate else ""
    password = {True: bed.secrets()["rest_api"], False: "wrong", None: ""}[has_password]
    for request in CHANGES:
        answer = rest(source, request, options, password)
        assert re.search(says, answer, re.S), f"{request}: {answer}"
        assert re.search("40[13]", answer), f"{request}: {answer}"


def test_patroni_listens_to_a_member_with_certificate_and_password(deployed: bed.Run) -> None:
    # An empty patch gets past the guards, and is refused for being empty.
    answer = rest("node2", "PATCH /config", shown_by(POSTGRES), bed.secrets()["rest_api"])
    assert re.search(r"\b400\b", answer), answer


def test_patroni_tells_no_secret_and_speaks_no_plain_http(deployed: bed.Run) -> None:
    url = f"{NODE1}:8008"
    told = bed.on("haproxy", f"{bed.CURL} 'https://{url}/{{patroni,config,cluster,metrics}}'")
    assert "loop_wait" in told
    assert [name for name, secret in bed.telltales().items() if secret in told] == []
    plain = bed.on("haproxy", f"{bed.CURL} --fail http://{url}/ 2>&1 || echo refused", check=False)
    assert plain.endswith("refused")


# --- PostgreSQL -----------------------------------------------------------------------------------


def refusal(**options: object) -> str:
    """Return why a connection through HAProxy is refused; fail the test when it is not."""
    with pytest.raises(psycopg.OperationalError) as refused:
        bed.connect(bed.RW, **options).close()
    return str(refused.value)


def test_postgresql_refuses_whoever_does_not_encrypt(deployed: bed.Run) -> None:
    assert "no encryption" in refusal(sslmode="disable")
    ask = (
        "read -r PGPASSWORD; export PGPASSWORD; psql -XAtc IDENTIFY_SYSTEM"
        f" 'host={NODE1} user=replicator dbname=postgres replication=true"
        f" sslrootcert={AUTHORITY} sslmode={{}}' 2>&1"
    )
    password = f"{bed.secrets()['replication']}\n"
    assert "|" in bed.on("node2", ask.format("verify-full"), stdin=password)
    assert "no encryption" in bed.on("node2", ask.format("disable"), check=False, stdin=password)


@pytest.mark.parametrize(
    ("role", "secret"),
    [("postgres", "superuser"), ("replicator", "replication"), ("rewind_user", "rewind")],
)
def test_the_clusters_own_roles_are_refused_through_haproxy(
    deployed: bed.Run, role: str, secret: str
) -> None:
    told = refusal(user=role, password=bed.secrets()[secret], dbname="postgres")
    assert "pg_hba.conf rejects connection" in told


def test_the_superuser_is_refused_over_the_network(deployed: bed.Run) -> None:
    ask = (
        "read -r PGPASSWORD; export PGPASSWORD; psql -XAtc 'SELECT 1'"
        f" 'host={NODE1} user=postgres dbname=postgres sslmode=require' 2>&1"
    )
    for source in ("haproxy", *bed.NODES):
        told = bed.on(source, ask, check=False, stdin=f"{bed.secrets()['superuser']}\n")
        assert re.search("no pg_hba.conf entry|pg_hba.conf rejects", told), f"{source}: {told}"


def test_every_password_is_kept_as_scram(deployed: bed.Run) -> None:
    query = "SELECT rolname, left(rolpassword, 14) FROM pg_authid WHERE rolcanlogin"
    roles = dict(row.split("|") for row in bed.sql(bed.primary(), query).splitlines())
    assert {"app", "postgres", "replicator", "rewind_user"} <= set(roles)
    assert set(roles.values()) <= {"SCRAM-SHA-256$", ""}
    assert bed.sql(bed.primary(), "SHOW password_encryption") == "scram-sha-256"


def test_pg_hba_trusts_nobody_and_names_single_hosts(deployed: bed.Run) -> None:
    query = (
        "SELECT type, array_to_string(user_name, ','), netmask, auth_method, error"
        " FROM pg_hba_file_rules ORDER BY rule_number"
    )
    for node in bed.NODES:
        rules = [row.split("|") for row in bed.sql(node, query).splitlines()]
        assert {rule[0] for rule in rules} == {"local", "hostssl"}
        assert {rule[3] for rule in rules} == {"peer", "scram-sha-256", "cert", "reject"}
        assert {rule[1] for rule in rules if rule[3] == "cert"} == {"pgbouncer"}
        assert {rule[2] for rule in rules if rule[0] == "hostssl"} == {"255.255.255.255"}
        assert {rule[4] for rule in rules} == {""}
        methods = [rule[3] for rule in rules if "postgres" in rule[1].split(",")]
        assert methods == ["peer", "reject", "reject"]  # by socket, and from each HAProxy host


def test_roles_can_do_no_more_than_they_must(deployed: bed.Run) -> None:
    query = (
        "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls, rolreplication"
        " FROM pg_roles WHERE rolcanlogin AND rolname <> 'postgres' ORDER BY 1"
    )
    rows = bed.sql(bed.primary(), query).splitlines()
    assert {"app|f|f", "pgbouncer|f|f", "replicator|f|t", "rewind_user|f|f"} <= set(rows)


def test_replication_is_encrypted(deployed: bed.Run) -> None:
    query = "SELECT usename, ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
    assert bed.sql(bed.primary(), query).splitlines() == ["replicator|t"] * 2


# --- hosts ----------------------------------------------------------------------------------------


def test_stranger_reaches_what_is_for_strangers_and_nothing_else(deployed: bed.Run) -> None:
    for name, host in bed.HOSTS.items():
        listening = bed.on(name, "ss -Hltn | awk '{print $4}' | grep -v '^127[.]'").splitlines()
        ports = {socket.rpartition(":")[2] for socket in listening}
        assert ports, "a host listens for SSH at least"
        probes = (
            f"timeout 3 bash -c '</dev/tcp/{host.address}/{port}' 2>/dev/null && echo {port}"
            for port in sorted(ports)
        )
        reached = set(bed.on("outsider", "; ".join(probes), check=False).split())
        for_clients = {"5000", "5001", "6432"} if "haproxy" in host.groups else set()
        assert reached == {"22"} | for_clients, name


def test_haproxys_sockets_belong_to_root(deployed: bed.Run) -> None:
    found = bed.on("haproxy", "find /run -path '*haproxy*' -type s -printf '%p %#m %u\\n'")
    assert "/run/haproxy-admin.sock 0600 root" in found.splitlines()
    assert bed.on("haproxy", "find /run -path '*haproxy*' -type s -perm -o+w") == ""


SERVICES = [("node1", "etcd", "etcd"), ("node1", "patroni", "postgres"),
            ("haproxy", "haproxy", "haproxy"), ("haproxy", "pgbouncer", "pgbouncer")]  # fmt: skip


@pytest.mark.parametrize(("host", "unit", "user"), SERVICES)
def test_services_are_not_root(deployed: bed.Run, host: str, unit: str, user: str) -> None:
    members = f"cat /sys/fs/cgroup$(systemctl show -p ControlGroup --value {unit})/cgroup.procs"
    users = bed.on(host, f"ps -o user:32= -p $({members} | paste -sd,)").split()
    master = ["root"] if unit == "haproxy" else []  # its workers take the connections
    assert sorted(users) == sorted(master + [user] * (len(users) - len(master)))
    assert user in users


@pytest.mark.parametrize(
    ("host", "unit"),
    [(host, unit) for host, unit, _ in SERVICES]
    + [("pgbackrest", unit) for unit in ("pgbackrest-backup@full", "pgha-proof@rehearsal")],
)
def test_services_cannot_become_more_than_they_are(deployed: bed.Run, host: str, unit: str) -> None:
    shown = bed.on(host, f"systemctl show -p NoNewPrivileges -p ProtectSystem {unit}.service")
    assert shown.splitlines() == ["ProtectSystem=full", "NoNewPrivileges=yes"]
    if unit in [running for _, running, _ in SERVICES]:  # a backup's process is there at times only
        # A process that is older than its unit's file was started without that.
        main = f"$(systemctl show -p MainPID --value {unit}.service)"
        assert "NoNewPrivs:\t1" in bed.on(host, f"cat /proc/{main}/status").splitlines()


def test_packages_are_taken_signed_only(deployed: bed.Run) -> None:
    for host in bed.HOSTS:
        settings = bed.on(host, "apt-config dump").splitlines()
        assert 'Acquire::AllowInsecureRepositories "0";' in settings
        assert not [line for line in settings if re.search('Unauthenticated "?[^0"]', line)]
        sources = bed.on(host, "cat /etc/apt/sources.list /etc/apt/sources.list.d/*", check=False)
        assert "deb " in sources
        assert not re.search("trusted *[=:] *yes", sources, re.I), host


@pytest.mark.parametrize(
    ("host", "user"), [(host, user) for host, _, user in SERVICES] + [("pgbackrest", "postgres")]
)
def test_services_users_may_not_use_sudo(deployed: bed.Run, host: str, user: str) -> None:
    assert "is not allowed to run sudo" in bed.on(host, f"sudo -l -U {user}")
