"""Print how fast stored values are rotated, beside what a database does at most, and a save loop.

`python -m bench.rotation [VENDOR]`; without a vendor, every one found here, each in a process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from time import perf_counter

from bench.databases import temporary_databases
from bench.table import Table
from bench.versions import versions
from tests import matrix

SIZES = {200: 100_000, 20_000: 20_000}  # bytes of a value: how many rows
SAVED = 1_000  # rows of the save loop, which is slow
BATCH = 2_000
WORKS = ("bare", "two bare", "arrays", "rewrap", "two", "re-encrypt", "save")
WORDS = {"database": 22, "bytes": 8, "rows": 9}
NUMBERS = {
    **dict.fromkeys(WORKS, 11),
    "rewrap/bare": 13,
    "rewrap/arrays": 15,
    "two/one": 9,
    "bare two/one": 14,
    "rewrap/save": 13,
    "grown": 7,
}
NOTES = """
bare       rows a second of an UPDATE that writes ready-made headers to the same rows, in the same
           batches, without a look at what it replaces; headers travel as one run of bytes
two bare   the same over two connections at once, where a database lets two write at once
arrays     as bare, with an array of keys and one of headers, as one would write it first
           (PostgreSQL; elsewhere it is the same statement)
rewrap     rows a second of `rotation.run()`, everything included: reading, cryptography, comparing,
           counting what is left, and what is written down of the run
two        the same with two processes
re-encrypt rows a second where each value gets a new data key and ciphertext
save       rows a second of a loop that loads and saves every row
grown      what the process takes more of memory after it than before, in MiB

The faster of {rounds} rounds, in which all took turns; tables were vacuumed before each."""
MANY_KEYS_NOTES = """
one value  a run that rewraps the one value of a key, beside as many rows that are under other keys,
           spread over them evenly; everything included, but for the rotation of the key
many keys  one run that rewraps all values of as many keys, row by row another one's, beside a run
           over the same rows under one key; everything included, but for the rotations of the keys

The fastest of {rounds} rounds, in which both take turns; of five runs in each for one value."""


def main() -> None:
    options = _options()
    if options.vendor is None:
        found, missing = matrix.find(matrix.FINDERS)
        print(versions(*found.values()), flush=True)
        for vendor in found:
            _in_a_process(vendor, options)
        print(NOTES.format(rounds=options.rounds))
        print(MANY_KEYS_NOTES.format(rounds=options.rounds))
        for name, reason in missing.items():
            print(f"Not found, so not measured: {name} ({reason}).")
        return
    os.environ["ENVELOPE_BENCH_VENDOR"] = options.vendor  # for its settings, in workers too
    with temporary_databases("bench.rotation_settings"):
        if options.work != "many-keys":
            table = Table(WORDS, NUMBERS)
            for size, rows in SIZES.items():
                rows = max(rows // options.divide, BATCH)
                _measure(table, options.vendor, size, rows, options.rounds)
        if options.work != "rates":
            from bench import many_keys

            many_keys.measure(options.vendor, options.rounds, options.divide)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rotation", description=__doc__)
    parser.add_argument("vendor", nargs="?", choices=list(matrix.FINDERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", choices=["rates", "many-keys"], help="this one alone")
    parser.add_argument("--divide", type=int, default=1, help="measure this fraction of the rows")
    return parser.parse_args()


def _in_a_process(vendor: str, options: argparse.Namespace) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "bench.rotation", vendor),
            *("--rounds", str(options.rounds), "--divide", str(options.divide)),
            *(("--work", options.work) if options.work else ()),
        ],
        check=True,
    )


def _measure(table: Table, vendor: str, size: int, rows: int, rounds: int) -> None:
    from bench.models import Encrypted
    from bench.rotating import Bare, re_encrypted, rewrapped, saved, vacuum

    Encrypted.objects.all().delete()
    made = max(4_000_000 // size // 20, 1)  # what fits into one INSERT everywhere
    for _ in range(rows // made):
        Encrypted.objects.bulk_create([Encrypted(value="x" * size) for _ in range(made)])
    rows = Encrypted.objects.count()
    storages = ["", "external"] if vendor == "postgresql" and size > 2000 else [""]
    for storage in storages:
        if storage:
            _store_externally()
        best: dict[str, float] = {}
        grown = 0.0
        for _ in range(rounds):
            bare = Bare()
            for name, work in (
                ("bare", bare),
                *([] if vendor == "sqlite" else [("two bare", bare.two)]),
                ("arrays", bare.arrays),
                ("rewrap", lambda: rewrapped(1)),
                ("two", lambda: rewrapped(2)),
                ("re-encrypt", re_encrypted),
            ):
                vacuum()
                before = _memory()
                began = perf_counter()
                work()
                rate = rows / (perf_counter() - began)
                best[name] = max(best.get(name, 0), rate)
                if name == "rewrap":
                    grown = max(grown, _memory() - before)
        began = perf_counter()
        saved(SAVED)
        best["save"] = SAVED / (perf_counter() - began)
        _show(table, f"{vendor} {storage}".strip(), size, rows, best, grown)


def _show(
    table: Table, where: str, size: int, rows: int, best: dict[str, float], grown: float
) -> None:
    table.row(
        where, f"{size:,}", f"{rows:,}",
        *(f"{best[name]:,.0f}" if name in best else "" for name in WORKS),
        f"{best['rewrap'] / best['bare']:.2f}", f"{best['rewrap'] / best['arrays']:.2f}",
        f"{best['two'] / best['rewrap']:.2f}",
        f"{best['two bare'] / best['bare']:.2f}" if "two bare" in best else "",
        f"{best['rewrap'] / best['save']:.1f}",
        f"{grown:.1f}",
    )  # fmt: skip


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _store_externally() -> None:
    from django.db import connection

    from bench.models import Encrypted

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE bench_encrypted ALTER COLUMN value SET STORAGE EXTERNAL")
        cursor.execute("UPDATE bench_encrypted SET value = value || ''::bytea")
    Encrypted.objects.first()


if __name__ == "__main__":
    main()
