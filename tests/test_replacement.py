"""rotate_certificates.py on five @fake hosts: order and refusals; killed anywhere, all ends well.

The fake hosts show no certificates, so a run of them only prepares (--dry): what it would do, in
which order, is played on a small world in which everybody must believe everybody at any time.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

import authorities
from certificates import new_authority, utc_now
from credentials import document, read
from operations import authority
from tests import harness
from tests.clusters import FIVE_HOSTS, SECRETS, STAGES
from tests.test_deploy import EVERYTHING_SHOWN, FAKE, Run, pyinfra, refused

ROTATE = "day2/rotate_certificates.py"


def file_of(folder: Path, stage: str = "settled") -> Path:
    """Return a secrets file, as it is at a stage, that a run may change."""
    file = folder / f"{stage}.yml"
    file.write_text(document(STAGES[stage]))
    file.chmod(0o600)
    return file


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    return file_of(tmp_path)


def rotate(*arguments: str, secrets: Path, verb: str = "prepare") -> Run:
    return pyinfra(
        FAKE, ROTATE, "--data", f"authority={verb}", "--data", f"secrets_file={secrets}", *arguments
    )


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--limit", "--exclude"])
def test_refuses_to_leave_a_host_out(option: str, secrets_file: Path) -> None:
    text = refused(rotate("-y", option, "haproxy", secrets=secrets_file))
    assert "is not part of this run" in text
    assert read(secrets_file) == SECRETS


def test_refuses_a_verb_that_there_is_not(secrets_file: Path) -> None:
    text = refused(rotate("-y", secrets=secrets_file, verb="finish"))
    assert "authority=finish means nothing" in text


def test_refuses_to_prepare_what_is_being_replaced(tmp_path: Path) -> None:
    text = refused(rotate("-y", secrets=file_of(tmp_path, "replaced")))
    assert "the authority is just being replaced" in text


def test_refuses_to_make_one_for_a_command(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHA_SECRETS_COMMAND", f"cat {secrets_file}")
    text = refused(rotate("-y", secrets=secrets_file))
    assert "which no next authority can be given to" in text
    assert 'docs/operations.md, "Replace the authority"' in text


@pytest.mark.parametrize(
    ("stage", "heading"), [("prepared", "both authorities are"), ("replaced", "the new authority")]
)
def test_brings_what_a_command_prints(
    stage: str, heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(tmp_path, stage)
    monkeypatch.setenv("PGHA_SECRETS_COMMAND", f"cat {file}")
    names = planned(rotate("--dry", "--json", secrets=file, verb="replace"))
    assert [name for name in names if name.startswith("==") and ":" not in name] == [
        f"== {heading} {'trusted' if stage == 'prepared' else 'signs'} ==", "== done ==",
    ]  # fmt: skip
    assert not [name for name in names if name.startswith("Keep")]


ENDED = new_authority("pgha", 30, utc_now().replace(year=utc_now().year - 1))


@pytest.mark.parametrize("script", ["deploy.py", ROTATE])
def test_refuses_an_authority_that_has_ended(script: str, tmp_path: Path) -> None:
    file = tmp_path / "secrets.yml"
    file.write_text(document(SECRETS.with_authority(ENDED)))
    file.chmod(0o600)
    text = refused(pyinfra(FAKE, script, "-y", "--data", f"secrets_file={file}"))
    assert "the cluster's authority ended on " in text
    assert "The authority has ended, or its key is lost" in text


def test_an_authority_that_has_ended_fails_its_proof(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yml"
    file.write_text(document(SECRETS.with_authority(ENDED)))
    file.chmod(0o600)
    run = pyinfra(FAKE, "verify.py", "-y", "--data", "verify_format=json",
                  "--data", f"secrets_file={file}")  # fmt: skip
    proofs = {proof["name"]: proof["status"] for proof in json.loads(run.stdout)["proofs"]}
    assert proofs["authority"] == "failed"


def test_a_dry_run_keeps_nothing_and_shows_no_key(secrets_file: Path) -> None:
    run = rotate("--dry", *EVERYTHING_SHOWN, secrets=secrets_file)
    assert run.code == 0, run.stderr
    assert read(secrets_file) == SECRETS
    assert "PRIVATE KEY" not in run.output


def test_documents_name_what_messages_send_people_to() -> None:
    titles = re.findall(r"^## (.+)$", Path("docs/operations.md").read_text(), re.MULTILINE)
    for hint in (authorities.ABOUT, authorities.LOST):
        assert re.findall('docs/operations.md, "(.+?)"', hint)[0] in titles


# --- order ------------------------------------------------------------------------------------


def planned(run: Run) -> list[str]:
    """Return the names of the operations of a dry run, in their order."""
    assert run.code == 0, run.stderr
    return [operation["name"] for operation in json.loads(run.stdout)["plan"]]


@cache
def plan_of(folder: Path, verb: str, stage: str) -> list[str]:
    """Return what a run of a verb would do where the secrets are at a stage."""
    return planned(rotate("--dry", "--json", secrets=file_of(folder, stage), verb=verb))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stages")


def test_goes_host_by_host_and_the_primary_comes_last(folder: Path) -> None:
    names = plan_of(folder, "prepare", "settled")
    turns = [name for name in names if name.startswith("== both authorities are trusted: ")]
    hosts = [name.split()[-2].removeprefix("@fake/") for name in turns if "HAProxy" not in name]
    assert hosts == ["node1", "node3", "haproxy", "pgbackrest", "node2"]
    first = names[names.index(turns[0]) : names.index(turns[2])]
    assert [name for name in first if not name.startswith("==")] == [
        "Issue certificates",
        "Show the new certificates",
        "Let etcd read anew",
        "See what services show",
        "Wait until this member leads or streams",
        "Wait for HAProxy's checks",
    ]


def test_renewal_goes_host_by_host_too(secrets_file: Path) -> None:
    names = planned(
        pyinfra(FAKE, ROTATE, "--dry", "--json", "--data", f"secrets_file={secrets_file}")
    )
    assert names[:5] == [
        "== @fake/node1 ==",
        "Issue certificates",
        "Show the new certificates",
        "Wait until this member leads or streams",
        "== @fake/node2 ==",
    ]


def test_a_step_is_kept_when_all_were_seen_to_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    case = {"arguments": {"old": "prepared", "new": "replaced"}}
    seen = dict.fromkeys(FIVE_HOSTS, STAGES["prepared"])
    for runs_by, is_kept in (
        (seen, True),
        (seen | {"haproxy": STAGES["settled"]}, False),
        ({name: runs for name, runs in seen.items() if name != "node3"}, False),
    ):
        monkeypatch.setattr("operations.authority_seen.RUNS_BY", runs_by)
        outcome = harness.run(authority.kept, case)
        assert (outcome.refusal is None) == is_kept
        assert bool(outcome.commands) == is_kept


# --- killed anywhere --------------------------------------------------------------------------

# Whom the secrets trust and who signs, at each stage of the way.
WAY = {
    "settled": ("former", frozenset({"former"})),
    "prepared": ("former", frozenset({"former", "new"})),
    "replaced": ("new", frozenset({"former", "new"})),
    "forgotten": ("new", frozenset({"new"})),
}
NEXT = dict(zip(WAY, list(WAY)[1:], strict=False))
NODES = ("node1", "node2")
SOME = (*NODES, "haproxy")  # more of a kind show nothing new, and take their time
SERVICES = dict.fromkeys(NODES, ("etcd", "postgres")) | {"haproxy": ("pgbouncer",)}


class OnHost(NamedTuple):
    """What a host has on its disk, and what its services have read of it."""

    trusted: frozenset[str] = WAY["settled"][1]
    etcd: str = "former"
    postgres: str = "former"
    pgbouncer: str = "former"
    # By the service, whether its certificate is older than whom to believe.
    old: frozenset[str] = frozenset()
    etcd_trusts: frozenset[str] = WAY["settled"][1]
    patroni_trusts: frozenset[str] = WAY["settled"][1]
    patroni_shows: str = "former"
    haproxy_trusts: frozenset[str] = WAY["settled"][1]
    pgbouncer_trusts: frozenset[str] = WAY["settled"][1]


class World(NamedTuple):
    """What the secrets file says, and what is on each host of SOME."""

    file: str = "settled"
    hosts: tuple[OnHost, ...] = (OnHost(),) * len(SOME)

    def of(self, name: str) -> OnHost:
        return self.hosts[SOME.index(name)]

    def changed(self, name: str, **what: object) -> "World":
        new = self.of(name)._replace(**what)  # type: ignore[arg-type]
        return self._replace(
            hosts=tuple(
                new if at == name else is_ for at, is_ in zip(SOME, self.hosts, strict=True)
            )
        )

    def holds(self) -> bool:
        """Say whether everybody believes what everybody else shows."""
        nodes = [self.of(name) for name in NODES]
        for one, other in product(nodes, repeat=2):
            believed = (
                {other.etcd, other.postgres} <= one.etcd_trusts
                and other.postgres in one.patroni_trusts
                and {other.etcd, other.patroni_shows} <= one.trusted
            )
            if not believed:
                return False
        proxy = self.of("haproxy")
        asked = {node.patroni_shows for node in nodes} <= proxy.haproxy_trusts & proxy.trusted
        shown = {node.patroni_shows for node in nodes} | {node.postgres for node in nodes}
        return (
            asked
            and shown <= proxy.pgbouncer_trusts & proxy.trusted
            and all(proxy.pgbouncer in node.patroni_trusts & node.trusted for node in nodes)
        )

    def agrees(self) -> bool:
        """Say whether the new authority is everywhere, and the former nowhere."""
        trusted = WAY["forgotten"][1]
        node = OnHost(trusted, etcd="new", postgres="new", etcd_trusts=trusted,
                      patroni_trusts=trusted, patroni_shows="new")  # fmt: skip
        proxy = OnHost(trusted, pgbouncer="new", haproxy_trusts=trusted, pgbouncer_trusts=trusted)
        return self == World("forgotten", (*[node] * len(NODES), proxy))


def issue(world: World, name: str) -> Iterator[World]:
    signer, trusted = WAY[world.file]
    if world.of(name).trusted != trusted:
        world = world.changed(name, trusted=trusted, old=frozenset(SERVICES[name]))
        yield world
    for service in SERVICES[name]:
        here = world.of(name)
        if getattr(here, service) != signer or service in here.old:
            world = world.changed(name, **{service: signer, "old": here.old - {service}})
            yield world


def reload(world: World, name: str) -> Iterator[World]:
    here = world.of(name)
    # With a certificate that it shows already, Patroni reads nothing, and nobody reloads PgBouncer.
    if name in NODES and "postgres" not in here.old:
        yield world.changed(name, patroni_shows=here.postgres, patroni_trusts=here.trusted)
    if name not in NODES and "pgbouncer" not in here.old:
        yield world.changed(name, pgbouncer_trusts=here.trusted)


def restart_etcd(world: World, name: str) -> Iterator[World]:
    if name in NODES:
        yield world.changed(name, etcd_trusts=world.of(name).trusted)


def reload_haproxy(world: World, name: str) -> Iterator[World]:
    yield world.changed(name, haproxy_trusts=world.of(name).trusted)


def keep(world: World, _: str) -> Iterator[World]:
    yield world._replace(file=NEXT[world.file])


# What the operations do that change anything, each a row of states between which a run may end.
# A reload may be late: it counts when it is waited for, or at the end.
EFFECTS = {
    "Keep it in the secrets file": keep,
    "Issue certificates": issue,
    "Let etcd read anew": restart_etcd,
    "Change etcd members in turn": restart_etcd,
    "Let HAProxy read anew": reload_haproxy,
    "Configure and start HAProxy": reload_haproxy,
    "See what services show": reload,
}


def turns_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the operations of a replacement that change anything, each with its host."""
    found, host = [], "node1"
    for name in names:
        if turn := re.search("@fake/([a-z0-9]+)", name):
            host = turn[1]
        elif name in EFFECTS and host in SOME:
            found.append((name, host))
    return found


def turns_of_deploy(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the same of a deploy, where only etcd's members have turns; reloads come last."""
    found = []
    for name in dict.fromkeys(name for name in names if name in EFFECTS):
        found += [(name, host) for host in (["haproxy"] if "HAProxy" in name else SOME)]
    return found + [("See what services show", name) for name in SOME]


def states(world: World, turns: Sequence[tuple[str, str]]) -> Iterator[World]:
    """Return the states that a run goes through; it can end in each of them."""
    for name, host in turns:
        for world in EFFECTS[name](world, host):  # noqa: B020  # the next goes on from the last
            yield world


def ended(world: World, turns: Sequence[tuple[str, str]]) -> World:
    return [world, *states(world, turns)][-1]


RUNS = [("prepare", "settled"), ("prepare", "prepared"), ("replace", "prepared"),
        ("replace", "replaced"), ("replace", "forgotten")]  # fmt: skip


@pytest.fixture(scope="module")
def turns(folder: Path) -> Mapping[str, list[tuple[str, str]]]:
    """What each run would do, by its verb and the stage of the secrets that it finds."""
    found = {f"{verb} {stage}": turns_of(plan_of(folder, verb, stage)) for verb, stage in RUNS}
    data = ("--data", f"secrets_file={file_of(folder)}")
    deploying = turns_of_deploy(planned(pyinfra(FAKE, "deploy.py", "--dry", "--json", *data)))
    return found | {f"deploy {stage}": deploying for stage in WAY}


def test_killed_anywhere_and_any_number_of_times_everybody_believes_everybody(
    turns: Mapping[str, list[tuple[str, str]]],
) -> None:
    seen, to_do = {World()}, [World()]
    while to_do:
        world = to_do.pop()
        assert world.holds(), world
        for verb in ("prepare", "replace", "deploy"):
            new = {*states(world, turns.get(f"{verb} {world.file}", []))} - seen
            seen |= new
            to_do += new
    assert len(seen) > 60
    assert {world.file for world in seen} == set(WAY)
    for world in seen:
        prepared = ended(world, turns.get(f"prepare {world.file}", []))
        replaced = ended(prepared, turns[f"replace {prepared.file}"])
        assert replaced.agrees(), world
        assert [*states(replaced, turns["deploy forgotten"])][-1].agrees()
        if world.file == "forgotten":
            assert ended(world, turns["deploy forgotten"]).agrees()


def test_out_of_order_somebody_would_not_be_believed(
    turns: Mapping[str, list[tuple[str, str]]],
) -> None:
    """What the test before would find: the next one signs before all trust it."""
    in_order = turns["prepare settled"] + turns["replace prepared"]
    hasty = [turn for turn in in_order if turn[0] != "Let HAProxy read anew"]
    assert all(world.holds() for world in states(World(), in_order))
    assert not all(world.holds() for world in states(World(), hasty))
    at_once = [("Keep it in the secrets file", "node1")] * 2 + turns["prepare prepared"]
    assert not all(world.holds() for world in states(World(), at_once))
