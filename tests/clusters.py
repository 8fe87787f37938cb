"""Clusters to test with: five hosts, group_data/all.py, and what a test changes in them."""

import runpy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import authorities
from certificates import new_authority, utc_now
from cluster import GROUPS, Cluster
from credentials import Secrets
from description import HostData, describe

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS: dict[str, Any] = {
    name: value
    for name, value in runpy.run_path(str(ROOT / "group_data" / "all.py")).items()
    if not name.startswith("_")
}


def requested(key: ec.EllipticCurvePrivateKey, name: str = "pgha", *dns: str) -> str:
    """Return a request as a host sends it: its own names are of no consequence."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(each) for each in dns])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if dns:
        asked = asked.add_extension(names, critical=False)
    return asked.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


AUTHORITY = new_authority("pgha", 3650, utc_now())
STRANGER = new_authority("pgha", 3650, utc_now())
# The key that every service of every host has here, and what it sends to be certified.
KEY = ec.generate_private_key(ec.SECP256R1())
REQUEST = requested(KEY)
SECRETS = Secrets(
    superuser="superuserPass1",
    replication="replicationPass2",
    rewind="rewindRolePass3",
    rest_api="restApiPass4",
    etcd_root="etcdRootPass5",
    etcd_patroni="etcdPatroniPass6",
    app="applicationPass5",
    backup_cipher="backupCipherPass8",
    authority_key=AUTHORITY.key,
    authority_certificate=AUTHORITY.certificate,
    repositories={
        "offsite": {"key": "s3KeyIdentifier9", "key_secret": "s3KeySecret10"},
        "elsewhere": {
            "private_key": "-----BEGIN PRIVATE KEY-----\nsftpKey11\n-----END PRIVATE KEY-----\n",
            "passphrase": "elsewherePass12",
        },
    },
)
SECRET_VALUES = {
    **{name: str(value) for name, value in vars(SECRETS).items() if name != "repositories"},
    **{
        f"{repository}.{name}": value.splitlines()[1] if "\n" in value else value
        for repository, keys in SECRETS.repositories.items()
        for name, value in keys.items()
    },
}
# What those keys are for.
OFFSITE = {
    "name": "offsite",
    "type": "s3",
    "bucket": "backups",
    "endpoint": "s3.example.net",
    "region": "eu",
    "path": "/pgha",
    "retention_days": 60,
    "full_schedule": "Sun 05:00",
    "incr_schedule": "hourly",
}
ELSEWHERE = {
    "name": "elsewhere",
    "type": "sftp",
    "host": "10.9.0.1",
    "user": "backup",
    "host_key": "SHA256:" + "A" * 43,
    "path": "/srv/pgha",
    "retention_days": 7,
    "full_schedule": "daily",
}
# Another cluster that may read the repository, and one that this may be a clone from.
READER = {"name": "copy", "address": "10.0.1.11", "key": "ssh-ed25519 AAAAcopy"}
SOURCE = {"stanza": "shop", "address": "10.0.2.41", "host_key": "ssh-ed25519 AAAAhost"}
# The same passwords at each step from one authority to the next, which is STRANGER here.
PREPARED = authorities.prepared(AUTHORITY, STRANGER)
STAGES = {
    "settled": SECRETS,
    "prepared": SECRETS.with_authority(PREPARED),
    "replaced": SECRETS.with_authority(authorities.replaced(PREPARED)),
    "forgotten": SECRETS.with_authority(STRANGER),
}
# A value for `described` that takes a setting away.
REMOVED = object()

ADDRESSES = {
    "node1": "10.0.0.11",
    "node2": "10.0.0.12",
    "node3": "10.0.0.13",
    "haproxy": "10.0.0.31",
    "pgbackrest": "10.0.0.41",
}
_NODE = ("etcd", "postgres")
FIVE_HOSTS: dict[str, Sequence[str]] = {
    "node1": _NODE,
    "node2": _NODE,
    "node3": _NODE,
    "haproxy": ("haproxy",),
    "pgbackrest": ("pgbackrest",),
}


def five_hosts(
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    addresses: Mapping[str, str] | None = None,
    data: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> list[HostData]:
    """Return the hosts of an inventory: five of them, unless `groups` adds or changes some.

    + groups: by host, instead of or beside the five hosts' own; without any, a host is left out
    + addresses: by host
    + data: of one host each, over the settings; `REMOVED` takes one away
    + settings: of every host; `REMOVED` takes one away
    """
    every = DEFAULTS | settings
    where = ADDRESSES | dict(addresses or {})
    own = data or {}
    return [
        HostData(
            name, frozenset(of), _kept(every | {"address": where.get(name, "")}, own.get(name))
        )
        for name, of in {**FIVE_HOSTS, **(groups or {})}.items()
        if of
    ]


def _kept(every: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in {**every, **(own or {})}.items() if v is not REMOVED}


def described(**changes: Any) -> Cluster:
    """Return the cluster of `five_hosts(**changes)`."""
    return describe(five_hosts(**changes))


def inventory_of(
    etcd: Iterable[int], postgres: Iterable[int], haproxy: Iterable[int], pgbackrest: int
) -> list[HostData]:
    """Return hosts by number: which number stands in which groups."""
    places = dict(zip(GROUPS, (set(etcd), set(postgres), set(haproxy), {pgbackrest}), strict=True))
    return [
        HostData(
            f"host{number}",
            frozenset(group for group, numbers in places.items() if number in numbers),
            DEFAULTS | {"address": f"10.1.0.{number}"},
        )
        for number in sorted(set().union(*places.values()))
    ]
