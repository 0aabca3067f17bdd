"""Print what it costs to find by an encrypted value: searches, writes, uniqueness, and the filling.

`python -m bench.search [VENDOR]`; without a vendor, every one found here, each in a process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from statistics import median
from time import perf_counter, process_time

from bench.databases import temporary_databases
from bench.table import Table
from bench.versions import versions
from tests import matrix

ROWS, SEARCHES, ROUNDS, SAVED = 1_000_000, 3_000, 100, 500
OF_SQLITE = 10  # which part of the rows is there: what is measured is meant for servers
PARTS = 20  # of the searches: how far their ratios are apart is the spread
LABEL = "bench.indexed.email_index"
WORDS = {"database": 12, "rows": 11, "work": 18}
WRITES = {"bytes, µs": 11, "+ index": 10, "median": 10, "quartiles": 18}
SEARCHED = {"text, µs": 10, "index, µs": 11, "ratio": 8, "spread": 14, "own": 7, "spread ": 14}
SPLIT = {"SQL, µs": 10, "of it MAC": 11, "server": 9}
QUERIES = {"text": 8, "index": 8}
FILLED = {
    "rows/s": 10, "two": 10, "two/one": 9, "save/s": 9, "ratio": 8, "µs here": 9, "save, µs": 10,
    "ratio ": 8,
}  # fmt: skip
NOTES = """
Writes, of {rounds} rounds of 100 rows, in the time of this process: an encrypted column beside
plain bytes of the same width with an index of the database; what a blind index in their place adds,
by the fastest rounds; and the median and quartiles of the differences within each round.

Queries that writes and checks of a unique value make.

The filling: rows a second of `rebuild_indexes`, of the same with two processes, and of a loop that
loads and saves; the first and the last in µs of a row, too, in the time of this process.

Searches for {searches} terms from all over the table, through the ORM: the median of a plain text
with an index, and of an encrypted one with a blind index, in the time that passed; their ratio, and
the least and the greatest of {parts} parts of the searches; and the same of the time of this
process alone (`own`). In the last table, where a search spends it: what SQL is made in, its MAC,
and what passes until the server has answered and all is fetched."""


def main() -> None:
    options = _options()
    if options.vendor is None:
        found, missing = matrix.find(matrix.FINDERS)
        print(versions(*found.values()), flush=True)
        for vendor in found:
            _in_a_process(vendor, options)
        print(NOTES.format(rounds=options.rounds, searches=options.searches, parts=PARTS))
        for name, reason in missing.items():
            print(f"Not found, so not measured: {name} ({reason}).")
        return
    os.environ["ENVELOPE_BENCH_VENDOR"] = options.vendor  # for its settings
    if options.vendor == "sqlite":
        options.rows = max(options.rows // OF_SQLITE, min(options.rows, SAVED))
    with temporary_databases("bench.rotation_settings"):
        _writes(options.vendor, options.rounds)
        _queries(options.vendor)
        _fill_tables(options.rows)
        _filling(options.vendor, options.rows)
        _searches(options.vendor, options.rows, options.searches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("vendor", nargs="?", choices=list(matrix.FINDERS))
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--searches", type=int, default=SEARCHES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of writes")
    return parser.parse_args()


def _in_a_process(vendor: str, options: argparse.Namespace) -> None:
    numbers = {"rows": options.rows, "searches": options.searches, "rounds": options.rounds}
    given = [item for name, number in numbers.items() for item in (f"--{name}", str(number))]
    print(flush=True)
    subprocess.run([sys.executable, "-m", "bench.search", vendor, *given], check=True)


def _writes(vendor: str, rounds: int) -> None:
    from bench import indexed_writes

    table = Table(WORDS, WRITES)
    for added in indexed_writes.compare(rounds):
        table.row(
            vendor, f"{indexed_writes.ROWS}", added.work, f"{added.beside:.2f}",
            f"{added.fastest:.2f}", f"{added.median:.2f}",
            f"{added.lower:.2f} to {added.upper:.2f}",
        )  # fmt: skip


def _queries(vendor: str) -> None:
    from bench import uniqueness

    table = Table(WORDS, QUERIES)
    for work, text, index in uniqueness.compare():
        table.row(vendor, "", work, f"{text}", f"{index}")


def _fill_tables(rows: int) -> None:
    from bench.loading import email, envelopes, load
    from bench.models import Indexed, Searched

    numbers = range(rows)
    load(Searched, "default", ["email"], ((email(number),) for number in numbers))
    encrypted = envelopes(Indexed, "email", map(email, numbers))
    load(Indexed, "default", ["email"], ((each,) for each in encrypted))


def _filling(vendor: str, rows: int) -> None:
    from bench.loading import settle
    from bench.models import Indexed

    table = Table(WORDS, FILLED)
    save, save_here = _rate(_save, min(rows, SAVED))
    fill, fill_here = _rate(_fill, rows)
    assert not Indexed.objects.filter(email_index__isnull=True).exists()
    two = ["", ""]
    if vendor != "sqlite":  # which lets one write at a time
        _empty()
        both, _ = _rate(partial(_fill, workers=2), rows)
        assert not Indexed.objects.filter(email_index__isnull=True).exists()
        two = [f"{both:,.0f}", f"{both / fill:.2f}"]
    settle(Indexed, "default")
    table.row(
        vendor, f"{rows:,}", "filling", f"{fill:,.0f}", *two, f"{save:,.0f}", f"{fill / save:.1f}",
        f"{fill_here:.1f}", f"{save_here:.1f}", f"{save_here / fill_here:.1f}",
    )  # fmt: skip


def _rate(work: Callable[[int], object], rows: int) -> tuple[float, float]:
    """Return how many rows a second it does, and the microseconds of this process for each."""
    began, began_here = perf_counter(), process_time()
    work(rows)
    return rows / (perf_counter() - began), (process_time() - began_here) / rows * 1e6


def _save(rows: int) -> None:
    """Load and save, as one would without a rebuild. An untouched value would leave its index."""
    from bench.models import Indexed

    for row in Indexed.objects.order_by("pk")[:rows].iterator():
        row.email = row.email
        row.save()


def _fill(_: int, workers: int = 1) -> None:
    from django.core.management import call_command

    silent = {"stdout": StringIO(), "stderr": StringIO()}
    call_command("rebuild_indexes", LABEL, workers=workers, **silent)


def _empty() -> None:
    """Have no row in the index again, and none pay for what that leaves behind."""
    from django.db import connection

    from bench.loading import settle
    from bench.models import Indexed

    with connection.cursor() as cursor:
        cursor.execute("UPDATE bench_indexed SET email_index = NULL")
    settle(Indexed, "default")


def _searches(vendor: str, rows: int, searches: int) -> None:
    from bench import searching
    from bench.models import Indexed, Searched

    table = Table(WORDS, SEARCHED)
    for each in searching.compare(rows, searches, PARTS):
        table.row(
            vendor, f"{rows:,}", each.search, f"{each.text * 1e6:,.0f}", f"{each.index * 1e6:,.0f}",
            *_spread(each.ratios), *_spread(each.own),
        )  # fmt: skip
    table = Table(WORDS, SPLIT)
    for name, model in (("text", Searched), ("index", Indexed)):
        split = [f"{each * 1e6:,.1f}" for each in searching.split(model, rows, searches)]
        table.row(vendor, f"{rows:,}", name, *split)


def _spread(ratios: Sequence[float]) -> tuple[str, str]:
    return f"{median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"


if __name__ == "__main__":
    main()
