#!/usr/bin/env python3
"""Backups, restores and the archive in figures, each beside what it competes with, in one run.

    python bench/backup.py [--scale 350] [--only backup increment restore archive]

The scale is pgbench's: 350 is some 5 GB. On containers of its own (testbed pgha-bench, left
standing with --keep). Copies go to and from other hosts over TLS or SSH, as in a cluster; all of
them are on one machine. A run of all parts is written to docs/backups.md. Nothing is asserted by
the clock.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # a script finds its own folder only, not the project
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import yaml

from bench.backup_page import PARTS, PGBENCH_SECONDS, SEGMENTS, page
from bench.deploy import HERE, TESTBED, attempt, containers, deploy, on, say
from bench.tls import BIN
from faults.steps import wait_until
from testbed import hands
from testbed.hosts import hosts, secrets_file

PAGE = HERE.root / "docs" / "backups.md"
LEVELS = {"zst": "server-zstd:3", "lz4": "server-lz4:1", "gz": "server-gzip:6"}
PGBACKREST = "cd / && runuser -u postgres -- pgbackrest --stanza=pgha --log-level-console=warn"
PUSH = "/usr/local/bin/pgha-pgbackrest-push"
COPY = "/data/bench-copy"
EMPTY = f"rm -rf {COPY} && install -d -o postgres -m 700 {COPY}"
FILLED_SEGMENT = """
SELECT pg_logical_emit_message(false, 'bench', string_agg(md5(random()::text), ''))
FROM generate_series(1, 480000);
SELECT pg_switch_wal()
"""
# Each round changes other rows: one that was changed has moved to the end of the table.
UPDATE = "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE"
TOGETHER = f"{UPDATE} aid / 100000 % 100 = {{round}}"
SCATTERED = f"{UPDATE} aid % 1000 = {{round}}"


@dataclass
class Figures:
    """What was measured so far: the bytes that a backup copies, and rows of tables by part."""

    size: int = 0
    rows: dict[str, list[list[str]]] = field(default_factory=dict)

    def add(self, part: str, *cells: str) -> None:
        self.rows.setdefault(part, []).append(list(cells))
        say(": ".join([part, ", ".join(cells)]))


class Cores:
    """How long a block takes, and how many cores of the machine are busy meanwhile."""

    def __enter__(self) -> "Cores":
        self._begun = self._looked()
        return self

    def __exit__(self, *_: object) -> None:
        begun, ended = self._begun, self._looked()
        self.seconds = ended[0] - begun[0]
        self.busy = (ended[1] - begun[1]) / self.seconds

    @staticmethod
    def _looked() -> tuple[float, float]:
        """Return the present moment and what all cores have worked until now, in seconds."""
        with Path("/proc/stat").open() as file:
            user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
        worked = user + nice + system + irq + softirq
        return time.monotonic(), worked / os.sysconf("SC_CLK_TCK")


class Bench:
    """The cluster, and who of it does what."""

    def __init__(self) -> None:
        site = hands.site(TESTBED)
        self.hosts = {host.name: host for host in hosts(TESTBED)}
        self.primary = site.primary()
        self.replica = next(name for name in site.nodes if name != self.primary)
        self.password = yaml.safe_load(secrets_file(TESTBED).read_text())["replication"]

    def on(self, host: str, command: str, stdin: str = "") -> str:
        return on(self.hosts[host], command, stdin)

    def sql(self, query: str, database: str = "app") -> str:
        psql = f"cd / && runuser -u postgres -- {BIN}/psql -XAtq -v ON_ERROR_STOP=1 -d {database}"
        return self.on(self.primary, psql, query).strip()

    def took(self, host: str, command: str, stdin: str = "") -> float:
        """Return how long a command takes on a host, in seconds."""
        begun = time.monotonic()
        self.on(host, command, stdin)
        return time.monotonic() - begun

    def fill(self, scale: int) -> int:
        """Fill the database, and return the bytes of all that a backup copies."""
        say(f"filling the tables, scale {scale}")
        self.on(
            self.primary,
            f"cd / && runuser -u postgres -- {BIN}/pgbench -q -i -s {scale} -d app",
        )
        self.sql("CHECKPOINT")
        return int(self.sql("SELECT sum(pg_database_size(oid)) FROM pg_database"))

    # --- copies -------------------------------------------------------------------------------

    def basebackup(self, options: str) -> float:
        """Return how long pg_basebackup takes from the primary to a replica's host."""
        address = self.hosts[self.primary].address
        where = f"host={address} user=replicator sslmode=verify-full sslrootcert=/etc/pgha/ca.crt"
        command = (
            f"read -r PGPASSWORD; export PGPASSWORD; {EMPTY}; cd / && runuser -u postgres --"
            f" {BIN}/pg_basebackup -d '{where}' -c fast -X none {options} -D {COPY} 2>&1"
        )
        return self.took(self.replica, command, f"{self.password}\n")

    def change(self, rows: str, number: int) -> None:
        """Update some of the rows, others in each round, and have them in the files."""
        self.sql(rows.format(round=number))
        self.sql("CHECKPOINT")

    def backup(self, options: str, kind: str = "full") -> float:
        return self.took("pgbackrest", f"{PGBACKREST} --type={kind} {options} backup")

    def kept(self) -> int:
        """Return the bytes that the newest backup takes in the repository."""
        info = json.loads(self.on("pgbackrest", f"{PGBACKREST} --output=json info"))
        found: int = info[0]["backup"][-1]["info"]["repository"]["delta"]
        return found

    def restore(self, options: str) -> float:
        """Return how long it takes to fill a directory of a replica's host from the repository."""
        command = f"{PGBACKREST} --pg1-path={COPY} --type=none {options} restore"
        return self.took(self.replica, command)

    # --- archiving ----------------------------------------------------------------------------

    def waiting(self) -> int:
        status = "/data/pgdata/pg_wal/archive_status"
        return int(self.on(self.primary, f"ls {status} | grep -c ready || true"))

    def drained(self) -> float:
        """Return how long so many waiting segments take, from the moment on that they may go."""
        # A command that fails at once: nobody's patience is measured, nor what sshd thinks of it.
        self.on(self.primary, f"mv {PUSH} {PUSH}.away && install -m 755 /bin/false {PUSH}")
        for _ in range(SEGMENTS):
            self.sql(FILLED_SEGMENT)
        self.on(self.primary, f"mv {PUSH}.away {PUSH}")
        self.sql(FILLED_SEGMENT)  # which wakes the archiver
        begun = time.monotonic()
        wait_until("the arrival of all WAL", lambda: self.waiting() == 0)
        return time.monotonic() - begun

    def most_waiting(self) -> int:
        """Return how many segments were ready at once while pgbench ran."""
        pgbench = f"runuser -u postgres -- {BIN}/pgbench -n -c 4 -j 2 -T {PGBENCH_SECONDS} app"
        self.on(self.primary, f"cd / && {{ {pgbench} >/dev/null 2>&1 & }}")
        end, most = time.monotonic() + PGBENCH_SECONDS, 0
        while time.monotonic() < end:
            most = max(most, self.waiting())
            time.sleep(0.5)
        return most


def measure(figures: Figures, options: argparse.Namespace) -> None:
    """Measure the parts that were asked for."""
    containers("down")
    containers("up")
    deploy()
    bench = Bench()
    figures.size = bench.fill(options.scale)
    megabytes = figures.size / 1e6
    for part in options.only:
        {
            "backup": measure_backups,
            "increment": measure_increments,
            "restore": measure_restores,
            "archive": measure_archive,
        }[part](figures, bench, megabytes)


def measure_backups(figures: Figures, bench: Bench, megabytes: float) -> None:
    def add(way: str, compression: str, processes: int, cores: Cores, ratio: float) -> None:
        took = cores.seconds
        cells = (f"{took:.0f}", f"{megabytes / took:.0f}", f"{ratio:.1f}", f"{cores.busy:.1f}")
        figures.add("backup", way, compression, str(processes), *cells)

    for compression, server in LEVELS.items():
        level = server.rpartition(":")[2]
        with Cores() as cores:
            bench.basebackup(f"-Ft --compress={server}")
        base = cores.seconds
        add("pg_basebackup", compression, 1, cores, 1.0)
        for processes in (1, 4):
            with Cores() as cores:
                bench.backup(
                    f"--compress-type={compression} --compress-level={level}"
                    f" --process-max={processes}"
                )
            add("pgBackRest", compression, processes, cores, base / cores.seconds)
    bench.on(bench.replica, f"rm -rf {COPY}")


def measure_increments(figures: Figures, bench: Bench, _: float) -> None:
    for number, (name, options) in enumerate({
        "bundle and block": "",
        "bundle": "--no-repo1-block",
        "neither": "--no-repo1-bundle",  # without which there is no block either
    }.items(), 1):  # fmt: skip
        cells = []
        for kind, rows in (("full", None), ("incr", TOGETHER), ("incr", SCATTERED)):
            if rows:
                bench.change(rows, number)
            took = bench.backup(f"{options} --process-max=2", kind)
            cells += [f"{bench.kept() / 1e6:.0f}", f"{took:.0f}"]
        figures.add("increment", name, *cells)


def measure_restores(figures: Figures, bench: Bench, megabytes: float) -> None:
    def add(way: str, took: float) -> None:
        figures.add("restore", way, f"{took:.0f}", f"{megabytes / took:.0f}")

    bench.backup("--process-max=2")
    add("pg_basebackup, from the primary", bench.basebackup("-Fp"))
    for number, processes in ((1, "1 process"), (4, "4 processes")):
        bench.on(bench.replica, EMPTY)
        add(f"pgBackRest, {processes}", bench.restore(f"--process-max={number}"))
    damage = (
        f"find {COPY}/base -type f -size +8k | head -n 200 | while read -r file; do"
        " printf x | dd of=$file bs=1 seek=4000 conv=notrunc 2>/dev/null; done"
    )
    bench.on(bench.replica, damage)
    add("pgBackRest, delta, 4 processes", bench.restore("--delta --process-max=4"))
    bench.on(bench.replica, f"rm -rf {COPY}")


def measure_archive(figures: Figures, bench: Bench, _: float) -> None:
    conf = "/etc/pgbackrest.conf"
    for way, change in {
        "asynchronous, as deployed": "true",
        "one by one": f"sed -i s/^archive-async=y/archive-async=n/ {conf}",
    }.items():
        bench.on(bench.primary, change)
        took = bench.drained()
        figures.add("archive", way, f"{took:.0f}", f"{SEGMENTS * 16.8 / took:.0f}",
                    str(bench.most_waiting()))  # fmt: skip
    bench.on(bench.primary, f"sed -i s/^archive-async=n/archive-async=y/ {conf}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print what was measured, and remove the containers."""
    described = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    described.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], help="parts")
    described.add_argument("--scale", type=int, default=350, help="of pgbench, some 15 MB each")
    described.add_argument("--keep", action="store_true", help="leave the containers")
    options = described.parse_args(arguments)
    figures = Figures()
    measured = attempt(lambda: measure(figures, options))
    text = page(figures.size, figures.rows)
    print(text)
    if measured and set(options.only) == set(PARTS):
        PAGE.write_text(text)
    if not options.keep:
        attempt(lambda: containers("down"))
    return 0 if measured else 1


if __name__ == "__main__":
    sys.exit(main())
