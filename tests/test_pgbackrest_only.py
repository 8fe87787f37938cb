"""The script behind every SSH key for backups: what it lets through, and what it refuses."""

import subprocess
from pathlib import Path

import pytest

from operations import config_files

# As pgBackRest 2.60 was seen to send them; `{}` is what a case changes.
COMMON = (
    "--exec-id=1234-5f6a7b8c --log-level-console=off --log-level-file=off"
    " --log-level-stderr=error --pg1-path=/data/pgdata --process=0"
)
DATABASE = f"pgbackrest {COMMON} --remote-type=repo --repo=1 --stanza=shop-2"
REPOSITORY = (
    f"pgbackrest --lock=shop-2-backup-1.lock {COMMON} --pg1-port=5432"
    " --pg1-socket-path=/run/postgresql --remote-type=pg --stanza=shop-2"
)


def rendered() -> str:
    return config_files.render("pgha-pgbackrest-only.j2", stanza="shop-2", reader_config="/r.conf")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return the script with an `echo` in the place of pgBackRest."""
    text, real = rendered(), '/usr/bin/pgbackrest $config "$@"'
    assert text.count(real) == 1
    path = tmp_path / "only"
    path.write_text(text.replace(real, '/bin/echo ran $config "$@"'))
    return path


def asked(script: Path, asker: str, command: str | None) -> tuple[int, str]:
    """Return the status and what stands on standard output."""
    environment = {"HOME": "/home/x", "SSH_CONNECTION": "10.0.0.11 1 10.0.0.41 22"}
    if command is not None:
        environment["SSH_ORIGINAL_COMMAND"] = command
    done = subprocess.run(
        ["/bin/sh", str(script), asker], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 or "this key is for pgBackRest only: " in done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("asker", "command"),
    [
        *(("database", f"{DATABASE} {name}:remote") for name in
          ("archive-get", "archive-push", "check", "info", "restore")),
        *(("repository", f"{REPOSITORY} {name}:remote") for name in
          ("backup", "check", "stanza-create", "stanza-upgrade", "stanza-delete")),
        ("database", f"/usr/bin/{DATABASE} --archive-async archive-push:remote"),
        ("database", f"{DATABASE} --buffer-size=1MiB --io-timeout=2m restore:remote"),
        ("database", f"{DATABASE} --no-log-timestamp --no-sck-keep-alive check:remote"),
    ],
)  # fmt: skip
def test_pgbackrests_own_calls_run_word_for_word(script: Path, asker: str, command: str) -> None:
    words = command.split(" ", 1)[1]
    assert asked(script, asker, command) == (0, f"ran {words}\n")


def test_a_reader_reads_by_the_configuration_of_readers(script: Path) -> None:
    for name in ("archive-get", "info", "repo-get", "repo-ls", "restore"):
        command = f"{DATABASE} {name}:remote"
        words = command.split(" ", 1)[1]
        assert asked(script, "reader", command) == (0, f"ran --config=/r.conf {words}\n")


@pytest.mark.parametrize(
    ("asker", "command"),
    [
        ("database", None),
        ("database", ""),
        ("database", "  "),
        ("database", "id"),
        ("database", "/home/x/pgbackrest info:remote"),
        ("database", "pgbackrest"),
        ("database", DATABASE),
        ("database", f"{DATABASE} info"),
        ("database", "pgbackrest --stanza=shop-2 --dry-run expire"),
        ("database", "pgbackrest --remote-type=repo --stanza=shop-2 expire"),
        *(("database", f"{DATABASE} {name}:remote") for name in
          ("backup", "expire", "stanza-create", "stanza-delete", "repo-rm", "repo-put", "annotate",
           "verify")),
        ("database", f"{DATABASE} archive-push:local"),
        ("database", f"{DATABASE} archive-push:remote expire:remote"),
        ("database", f"{DATABASE} archive-push:remote --config=/tmp/x"),
        ("database", f"pgbackrest {COMMON} archive-push:remote"),
        # The repository host's own files, by the name of a data directory.
        ("database", f"pgbackrest {COMMON} --remote-type=pg restore:remote"),
        ("database", f"{DATABASE} --remote-type=pg restore:remote"),
        *(("database", f"{DATABASE} {option} info:remote") for option in
          ("--config=/tmp/x", "--config-path=/tmp", "--config-include-path=/tmp",
           "--cmd-ssh=/tmp/x", "--repo1-path=/tmp", "--repo2-path=/tmp", "--log-path=/tmp",
           "--lock-path=/tmp", "--lock=/tmp/x", "--lock=../../x", "--spool-path=/tmp",
           "--no-config", "--pg2-host-cmd=/tmp/x", "--", "-",
           "--stanza=shop", "--stanza=shop-22", "-x")),
        *(("database", f"{DATABASE} info:remote{more}") for more in
          ("; id", "|id", "&id", "\nid", " `id`", " $(id)", " $HOME", " *", " >/tmp/x", " \\", "'",
           '"', "\t", "\x7f", "é")),
        *(("reader", f"{DATABASE} {name}:remote") for name in
          ("archive-push", "check", "expire", "repo-put", "repo-rm", "stanza-create")),
        ("reader", f"{DATABASE} --config=/tmp/x info:remote"),
        ("repository", f"{REPOSITORY} archive-push:remote"),
        ("repository", f"{REPOSITORY} restore:remote"),
        ("repository", f"{DATABASE} backup:remote"),
        ("repository", "sh -c id"),
        ("", f"{DATABASE} info:remote"),
        ("stranger", f"{DATABASE} info:remote"),
    ],
)  # fmt: skip
def test_everything_else_is_refused(script: Path, asker: str, command: str | None) -> None:
    assert asked(script, asker, command) == (1, "")


def test_pgbackrest_gets_no_settings_from_the_environment(tmp_path: Path) -> None:
    text = rendered()
    path = tmp_path / "only"
    path.write_text(text.replace('/usr/bin/pgbackrest $config "$@"', "/usr/bin/env"))
    environment = {
        "HOME": "/home/x",
        "PGBACKREST_CONFIG": "/home/x/pgbackrest.conf",
        "SSH_ORIGINAL_COMMAND": f"{DATABASE} info:remote",
    }
    done = subprocess.run(
        ["/bin/sh", str(path), "database"], env=environment, capture_output=True, text=True
    )
    assert set(done.stdout.splitlines()) == {"HOME=/home/x", "PATH=/usr/bin:/bin"}
