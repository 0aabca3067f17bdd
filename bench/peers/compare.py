"""Time the packages that are installed here, in turns, and print the table."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from functools import partial

from django.db import connection
from django.db.models import Model

from bench.databases import temporary_databases
from bench.peers.packages import PACKAGES
from bench.rounds import fastest
from bench.table import Table
from bench.versions import versions
from bench.work import READS, WRITES, fill

OURS = "envelope_fields"
PLAIN = "TextField"
SIZES = {64: 1000, 2_000: 400}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["ENVELOPE_BENCH_DIRECTORY"] = directory
        with temporary_databases("bench.peers.settings"):
            print(f"\n{versions()}, SQLite {sqlite3.sqlite_version}\n")
            table = Table(
                {"characters": 12, "field of": 24},
                {**dict.fromkeys((*READS, *WRITES), 16), "bytes": 8},
            )
            for characters, count in SIZES.items():
                _measure(table, characters, count, rounds)


def _measure(table: Table, characters: int, count: int, rounds: int) -> None:
    from bench.comparison import text
    from bench.models import Encrypted, Text
    from bench.peers.models import MODELS

    models = {PLAIN: Text, OURS: Encrypted, **MODELS}
    values = [text(characters, number) for number in range(count)]
    for model in models.values():
        fill(model, "default", values)
    timed = [
        fastest(
            {name: partial(work, model, "default", values) for name, model in models.items()},
            rounds,
        )
        for work in (*READS.values(), *WRITES.values())
    ]
    for name in (PLAIN, OURS, *(package.distribution for package in PACKAGES)):
        if name not in models:
            table.row(f"{characters:,}", name, "  not installed")
            continue
        table.row(
            f"{characters:,}",
            name,
            *(_cell(name, times) for times in timed),
            f"{_stored_bytes(models[name]):,}",
        )


def _cell(name: str, times: dict[str, float]) -> str:
    """Return what a field adds, and how that is to what ours adds."""
    plain, ours = times[PLAIN], times[OURS]
    if name == PLAIN:
        return f"{plain * 1e6:.2f}       "
    added = times[name] - plain
    return f"+{added * 1e6:.2f} {added / (ours - plain):5.2f}x"


def _stored_bytes(model: type[Model]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(length(CAST(value AS BLOB))) FROM {model._meta.db_table}")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
