"""Print what encryption costs, as one table measured in one run."""

from __future__ import annotations

import argparse
import os

from bench.databases import temporary_databases
from bench.memory import growth
from bench.table import Table, ratio
from bench.versions import versions
from envelope_fields.crypto.format import OVERHEAD_BYTES
from tests import matrix

SIZES = {64: 1000, 2_000: 400, 20_000: 80}  # characters of a value: how many values a round has
SIZES_ON_SERVERS = {64: 1000, 2_000: 400}  # beyond that it is the driver that is measured
WORDS = {"database": 12, "characters": 12, "work": 12}
NUMBERS = dict.fromkeys(
    ("text", "+ bytes", "+ field", "+ ours", "bare", "ours/field", "ours/bare"), 11
)
NOTES = """
text       what a value of a TextField takes, in µs
+ bytes    what a BinaryField adds to that, storing as many random bytes as the envelope has
+ field    what the smallest field adds that calls the primitives: the same cryptography by
           hand, wiping included, and nothing else
+ ours     what EncryptedTextField adds
bare       the primitives in a loop, without a database around them

Each number is the fastest of {rounds} rounds, in which all took turns.
A stored value is {overhead} bytes longer than its text in UTF-8."""


def main() -> None:
    options = _options()
    found, missing = matrix.find(matrix.FINDERS)
    os.environ["ENVELOPE_BENCH_SERVERS"] = ",".join(name for name in found if name != "sqlite")
    print(versions(*found.values()), end="\n\n")
    table = Table(WORDS, NUMBERS)
    with temporary_databases():
        for name in found:
            sizes = SIZES if name == "sqlite" else SIZES_ON_SERVERS
            for characters, count in sizes.items():
                _measure(table, name, characters, count, options.rounds)
        _measure_prefixes(options.rounds)
        _measure_types(options.rounds)
        _measure_bound(options.rounds)
    print(NOTES.format(rounds=options.rounds, overhead=OVERHEAD_BYTES))
    for name, reason in missing.items():
        print(f"Not found, so not measured: {name} ({reason}).")
    if options.rows:
        grown = growth(options.rows)
        print(f"\nMemory after iterating over {options.rows:,} rows: {grown / 2**20:+.1f} MiB.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often each work is timed")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows to iterate over; 0 leaves memory out"
    )
    return parser.parse_args()


def _measure(table: Table, name: str, characters: int, count: int, rounds: int) -> None:
    from bench import comparison

    using = "default" if name == "sqlite" else name
    values = [comparison.text(characters, number) for number in range(count)]
    for measured in comparison.compare(using, values, rounds):
        added = [seconds - measured.text for seconds in measured[2:5]]
        table.row(
            name,
            f"{characters:,}",
            measured.work,
            *(f"{seconds * 1e6:.2f}" for seconds in (measured.text, *added, measured.bare)),
            ratio(added[2], added[1]),
            ratio(added[2], measured.bare),
        )


def _measure_prefixes(rounds: int) -> None:
    from bench import comparison

    print("\nSQLite, 64 characters, each row with a nonce prefix of its own, in a process that has")
    print("read none of them: what EncryptedTextField adds, in µs")
    values = [comparison.text(64, number) for number in range(1000)]
    for name, seconds in comparison.compare_prefixes("default", values, rounds):
        print(f"  {name:14}{seconds * 1e6:8.2f}")


def _measure_types(rounds: int) -> None:
    from bench import types

    print("\nSQLite, values of other types beside an encrypted text that prints the same, in µs")
    for model, name, value, text in types.compare(rounds):
        print(f"  {model:8}{name:14}{value * 1e6:8.2f}{text * 1e6:8.2f}{ratio(value, text):>8}")


def _measure_bound(rounds: int) -> None:
    from bench import bound

    print("\nSQLite, 64 characters, values that are bound to a column of their row, in µs")
    print(f"  {'':14}" + "".join(f"{name:>14}" for name in bound.MODELS))
    for work, seconds in bound.compare(rounds):
        print(f"  {work:14}" + "".join(f"{each * 1e6:14.2f}" for each in seconds.values()))


if __name__ == "__main__":
    main()
