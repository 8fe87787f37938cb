"""docs/backups.md: backups, restores and the archive in figures."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.tables import section

SEGMENTS, PGBENCH_SECONDS = 64, 60


@dataclass(frozen=True)
class Part:
    """A table of the page, and a sentence on how it came about."""

    title: str
    head: tuple[str, ...]
    note: str


PARTS = {
    "backup": Part(
        "Full copies",
        (
            "full copy",
            "compression",
            "processes",
            "seconds",
            "MB/s",
            "of pg_basebackup's",
            "cores busy",
        ),
        "`pg_basebackup` writes to a replica's host, with the same compression and level.",
    ),
    "increment": Part(
        "What an incremental backup keeps",
        (
            "options",
            "full: MB kept",
            "seconds",
            "1 % of the rows, together: MB",
            "seconds",
            "0.1 %, scattered: MB",
            "seconds",
        ),
        "What is scattered is in 6 % of the pages, and so in nearly each block of a file.",
    ),
    "restore": Part(
        "Filling a directory",
        ("way", "seconds", "MB/s"),
        "By a replica's host; `delta` where 200 files of the copy were damaged.",
    ),
    "archive": Part(
        "Archiving",
        ("way", f"{SEGMENTS} waiting segments: seconds", "MB/s", "at most waiting"),
        f"At most waiting: segments ready at once during {PGBENCH_SECONDS} s of pgbench.",
    ),
}


def page(size: int, rows: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """
    Return the page, without the tables that have no rows yet.

    + size: bytes of what a full backup copies
    + rows: of each table, by the name of its part
    """
    linux = ".".join(platform.release().split(".")[:2])
    head = f"""# Backups in figures

Made by `make bench-backup` (bench/backup.py) on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()}
cores for all hosts together (containers on one machine), Linux {linux},
{size / 1e9:.1f} GB of pgbench's tables, PostgreSQL 18, pgBackRest 2.60, all from one run.
Read the ratios, not the seconds.
"""
    tables = [
        f"{section(part.title, part.head, rows[name])}\n{part.note}\n"
        for name, part in PARTS.items()
        if name in rows
    ]
    return "\n".join([head, *tables])
