"""A host that shuts down waits until another member leads, and no other stop waits at all."""

import subprocess
from pathlib import Path

import pytest

from operations import config_files

# It tells the next line of `leaders` each time it is asked, and keeps to the last.
ETCDCTL = """#!/bin/sh
echo "$*" >>asked
[ ! -e away ] || exit 1
sed -n "$(wc -l <asked)p;\\$p" leaders | head -n 1
"""


def asked(folder: Path, system: str, *leaders: str) -> int:
    """Return how often etcd was asked until the script ended."""
    for name, text in {
        "systemctl": f"#!/bin/sh\necho {system}\n",
        "etcdctl": ETCDCTL,
        "sleep": "#!/bin/sh\n",
        "date": "#!/bin/sh\necho x >>seconds\nwc -l <seconds\n",  # each question takes one
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "asked").touch()
    (folder / "leaders").write_text("".join(f"{leader}\n" for leader in leaders))
    script = config_files.render(
        "pgha-handed-over.j2", etcdctl="etcdctl", key="/service/pgha/leader"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env={"PATH": f"{folder}:/usr/bin:/bin"}, timeout=60
    )
    assert done.returncode == 0
    lines = (folder / "asked").read_text().splitlines()
    assert all(line.endswith("get --print-value-only /service/pgha/leader") for line in lines)
    return len(lines)


@pytest.mark.parametrize("system", ["running", "degraded"])
def test_a_restart_of_patroni_does_not_wait(tmp_path: Path, system: str) -> None:
    assert asked(tmp_path, system, "") == 0


def test_a_host_that_goes_waits_for_the_next_leader(tmp_path: Path) -> None:
    assert asked(tmp_path, "stopping", "", "", "node2") == 3


def test_a_replicas_host_does_not_wait(tmp_path: Path) -> None:
    assert asked(tmp_path, "stopping", "node1") == 1


def test_without_anybody_else_it_ends(tmp_path: Path) -> None:
    assert asked(tmp_path, "stopping", "") == 7


def test_without_etcd_it_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "away").touch()
    assert asked(tmp_path, "stopping", "") == 1
