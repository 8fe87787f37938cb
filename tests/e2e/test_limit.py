"""A run of part of the cluster touches that part only, and knows all of it."""

from tests.e2e import testbed as bed


def drift(host: str, path: str) -> str:
    """Change a file behind the deploy's back, and return what it was."""
    before = bed.on(host, f"cat {path}")
    bed.on(host, f"echo '# drift' >> {path}")
    return before


def test_limit_to_a_group_changes_that_group_only(cluster: None) -> None:
    haproxy = drift("haproxy", "/etc/haproxy/haproxy.cfg")
    sysctl = "/etc/sysctl.d/90-pgha.conf"
    drift("node1", sysctl)
    run = bed.deploy("--limit", "haproxy")
    assert run.changes == ["Configure and start HAProxy"]
    assert bed.on("haproxy", "cat /etc/haproxy/haproxy.cfg") == haproxy
    assert "# drift" in bed.on("node1", f"cat {sysctl}")
    assert bed.deploy().changes == ["Set kernel parameters"]


def test_limit_to_a_host_keeps_its_peer_lists(cluster: None) -> None:
    etcd, trust = "/etc/default/etcd", "/var/lib/postgresql/.ssh/authorized_keys"
    before = [bed.on("node2", f"cat {path}") for path in (etcd, trust)]
    assert bed.deploy("--limit", "node2").changes == []
    assert [bed.on("node2", f"cat {path}") for path in (etcd, trust)] == before


def test_phases_choose_what_runs(cluster: None) -> None:
    drift("haproxy", "/etc/haproxy/haproxy.cfg")
    assert bed.deploy("--data", "phases=etcd,patroni").changes == []
    assert bed.deploy("--data", "phases=haproxy").changes == ["Configure and start HAProxy"]


def test_limit_without_a_match_is_an_error(cluster: None) -> None:
    run = bed.pyinfra("deploy.py", "-y", "--limit", "nodee1")
    assert run.code != 0
    assert "nodee1 matches no host" in run.stderr
    assert "Traceback" not in run.stderr


def test_repository_and_database_hosts_trust_each_other_for_backups_only(cluster: None) -> None:
    ssh = "runuser -u postgres -- ssh postgres@{} hostname 2>&1"
    pgbackrest = "runuser -u postgres -- pgbackrest --stanza=pgha check && echo well"
    pairs = [(node, "pgbackrest") for node in bed.NODES]
    for source, target in [*pairs, *((target, source) for source, target in pairs)]:
        told = bed.on(source, ssh.format(bed.HOSTS[target].address), check=False)
        assert "this key is for pgBackRest only: another program" in told, (source, target)
        assert target not in told.splitlines()
    for host in ("pgbackrest", *bed.NODES):
        assert bed.on(host, pgbackrest).endswith("well")


def test_another_host_key_stops_a_deploy_until_somebody_says_why(cluster: None) -> None:
    pinned = "/var/lib/postgresql/.ssh/known_hosts"
    before = bed.on("node2", f"cat {pinned}")
    other = "$(cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub)"
    bed.on("node2", f'cp -a {pinned} /root/ && sed -i "s|ed25519 [^ ]*|ed25519 {other}|" {pinned}')
    try:
        run = bed.pyinfra("deploy.py", "-y")
        assert run.code != 0
        assert "it was rebuilt, or somebody is in between" in run.stderr
        assert "== certificates ==" not in run.stderr  # nothing comes after the phase that failed
        assert bed.on("node2", f"cat {pinned}") != before
        named = bed.deploy("--data", "ssh_trust_replaced=pgbackrest")
        assert bed.on("node2", f"cat {pinned}") == before
    finally:
        bed.on("node2", f"cat /root/known_hosts >{pinned} && rm /root/known_hosts")
    assert named.changes == ["Exchange SSH keys"]
