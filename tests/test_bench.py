"""The bench without containers: what it counts, what it refuses, and when it writes its page."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyinfra.api import StringCommand
from pyinfra.connectors.ssh import SSHConnector

from bench import counting, deploy, tables
from bench.deploy import BenchError
from bench.tables import Figures, Run

QUIET = Run(3.0, Counter(node1=19, pgbackrest=10), [])


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """What reaches the SSH library; the connector counts as in a measured run."""
    wire = MagicMock()
    wire.exec_command.side_effect = lambda *_, **__: _answered()
    monkeypatch.setattr(SSHConnector, "get_file_transfer_connection", lambda _: wire)
    monkeypatch.setattr(counting, "COUNTS", Counter())
    for name in counting.SENDS:
        monkeypatch.setattr(SSHConnector, name, counting.counted(getattr(SSHConnector, name)))
    return wire


def _answered() -> tuple[MagicMock, MagicMock, MagicMock]:
    stdout, stderr = MagicMock(), MagicMock()
    stdout.channel.recv_exit_status.return_value = 0
    for buffer in (stdout, stderr):
        buffer.__iter__.return_value = iter(())
    return MagicMock(), stdout, stderr


@pytest.mark.parametrize("sudo", [False, True])
@pytest.mark.parametrize(
    "send",
    [
        lambda ssh, **options: ssh.run_shell_command(StringCommand("true"), **options),
        lambda ssh, **options: ssh.put_file(StringIO("x"), "/etc/x", "staged", **options),
        lambda ssh, **options: ssh.get_file("/etc/x", StringIO(), "staged", **options),
    ],
    ids=["command", "upload", "download"],
)
def test_every_command_and_transfer_counts_once(
    wire: MagicMock, send: Callable[..., Any], sudo: bool
) -> None:
    here = MagicMock(connector_data={}, print_prefix="")
    here.name = "node1"
    ssh = SSHConnector(MagicMock(), here)
    ssh.client = wire
    send(ssh, _sudo=sudo)
    seen = wire.exec_command.call_count + wire.putfo.call_count + wire.getfo.call_count
    assert seen >= 1
    assert Counter(node1=seen) == counting.COUNTS


def _ran(monkeypatch: pytest.MonkeyPatch, *changed: str) -> None:
    """Let every deploy end with these operations changed, and one that was not."""
    operations = [{"names": [name], "success": ["node1"]} for name in changed]
    operations.append({"names": ["Install packages"], "success": []})

    def run(_: str, command: list[str], __: int, place: deploy.Place) -> str:
        assert place == deploy.HERE
        Path(command[command.index("bench.counting") + 1]).write_text('{"node1": 19}')
        return json.dumps({"results": {"operations": operations}})

    monkeypatch.setattr(deploy, "run", run)


def test_a_deploy_with_nothing_to_do_changed_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    _ran(monkeypatch, "Configure etcd", "Restart Patroni on node2")
    with pytest.raises(BenchError, match="changed a host: Configure etcd; Restart Patroni on nod"):
        deploy.deploy_nothing()


def test_a_deploy_with_nothing_to_do_changed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _ran(monkeypatch)
    assert deploy.deploy_nothing().sent == {"node1": 19}


def test_a_failed_command_shows_its_last_words_and_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = "import sys; print('early\\n' * 50, 'no such host', file=sys.stderr); sys.exit(3)"
    assert not deploy.attempt(lambda: deploy.run("it", [sys.executable, "-c", script]))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == deploy.LAST_LINES + 1
    assert said[-2].strip() == "no such host"
    assert said[-1] == "error: it ended with exit status 3"


@pytest.mark.parametrize(
    ("arguments", "fails", "written"),
    [
        ([], False, True),
        (["--only", *deploy.PARTS], False, True),
        (["--only", "first", "again"], False, False),
        ([], True, False),
    ],
    ids=["all parts", "all parts by name", "some parts", "failed half-way"],
)
def test_only_a_whole_run_replaces_the_page(
    arguments: list[str], fails: bool, written: bool, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def measure(figures: Figures, _: SimpleNamespace) -> None:
        figures.floor.append(128.4)
        if fails:
            raise BenchError("the deploy failed")

    monkeypatch.setattr(deploy, "measure", measure)
    monkeypatch.setattr(deploy, "containers", lambda _: None)
    monkeypatch.setattr(deploy, "PAGE", tmp_path / "benchmarks.md")
    assert deploy.main(arguments) == (1 if fails else 0)
    assert "128.4" in capsys.readouterr().out
    assert deploy.PAGE.exists() == written


def test_the_verdict_compares_medians() -> None:
    page = tables.first_deploy([100.0, 120.0], [200.0, 140.0])
    assert "1.3 x floor + 30 s = 173.0 s: holds" in page
    assert "| ratio to the floor | 2.00 | 1.17 | 1.58 |" in page


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [((3.6, 4.2, 6.0), "grows less than"), ((3.0, 7.0, 15.0), "does not grow less than")],
)
def test_growth_is_judged_by_seconds_per_host(seconds: tuple[float, ...], verdict: str) -> None:
    sizes = zip(deploy.SIZES, seconds, strict=True)
    text = tables.growth({nodes: [Run(took, QUIET.sent, [])] for nodes, took in sizes})
    assert f"time {verdict} linearly" in text.splitlines()[-1]


def test_what_a_failure_cut_short_is_still_shown() -> None:
    cut = Figures(floor=[128.4], nodelay={False: [QUIET], True: []}, growth={3: [QUIET], 7: []})
    page = tables.page(cut)
    assert "| floor: the same packages by plain shell | 128.4 | 128.4 |" in page
    assert "| without | 3.00 | 3.00 |" in page
    assert "| 3 | 3.0 s | 1.00 | 19 | 10 |" in page
    assert "holds" not in page


def test_two_trees_stand_beside_each_other_with_their_ratio() -> None:
    before, after = Run(4.0, Counter(node1=20), []), Run(5.0, Counter(node1=22, haproxy=5), [])
    text = tables.beside({"v1": [before] * 3, "this tree": [after] * 3})
    assert "| commands and file transfers to node1 | 20 | 22 |" in text
    assert "| commands and file transfers to haproxy | 0 | 5 |" in text
    assert "this tree / v1 = 1.25." in text
