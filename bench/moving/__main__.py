"""Print how fast a column is filled and compared, beside loading and saving each row.

`python -m bench.moving [--vendor postgresql] [--rows 1000000]`, in one run.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING

from bench.databases import temporary_databases

if TYPE_CHECKING:
    from envelope_fields.models import RotationRun

ROWS, SAVED, WRITERS = 1_000_000, 3_000, 2
SECONDS_OF_WRITING = 10
NOTES = """
load and save  rows a second of a loop that loads each object and saves it, in the phase `both`
fill           rows a second of the run that fills the new column, everything included
compare        rows a second of the run that opens each row and compares both columns
empty          rows a second of the run that empties the old column, which compares once more
latency        the median of two writers, each of which loads a row and saves it, again and again:
               alone, and while the column is filled
dual writing   what save() takes in the phase `both`, beside a model that has both columns"""


def main() -> None:
    options = _options()
    os.environ["ENVELOPE_BENCH_VENDOR"] = options.vendor
    if options.writer:
        _write_on(options.rows)
        return
    with temporary_databases("bench.moving.settings"):
        _measure(options.rows)
    print(NOTES)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.moving", description=__doc__)
    parser.add_argument("--vendor", default="postgresql")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--writer", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(rows: int) -> None:
    from envelope_fields.conversion.column_phases import moving_field
    from envelope_fields.conversion.steps import Steps
    from envelope_fields.models import ColumnPhase, RotationRun

    _fill_table(rows)
    field = moving_field("moving.Visit.report")
    steps = Steps(field)
    steps.to(ColumnPhase.BOTH)
    saved = _rate(_saved, SAVED)
    _say("load and save", saved)
    with _writers(rows) as alone:
        sleep(SECONDS_OF_WRITING)
    with _writers(rows) as meanwhile:
        steps.to(ColumnPhase.FILLING)
    _say("fill, with writers", _rate_of(steps.runs[-1], rows), saved)
    _say_latency(alone, meanwhile)

    steps.to(ColumnPhase.CLEAR)
    _emptied()  # so that all rows are filled once more
    steps.to(ColumnPhase.FILLING)
    _say("fill", _rate_of(steps.runs[-1], rows), saved)
    steps.to(ColumnPhase.VERIFIED)
    _say("compare", _rate_of(steps.runs[-1], rows), saved)
    _say_dual_writing()
    steps.to(ColumnPhase.ENCRYPTED)
    steps.to(ColumnPhase.ONLY)
    _say("empty", _rate_of(steps.runs[-1], rows), saved)
    assert not RotationRun.objects.exclude(state="completed").exists()


def _fill_table(rows: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "INSERT INTO moving_visit (report) SELECT repeat(md5(n::text), 7) "
                f"FROM generate_series(1, {rows:d}) AS n"
            )
            cursor.execute("UPDATE moving_visit SET report = left(report, 200)")
            cursor.execute("VACUUM (FULL, ANALYZE) moving_visit")
            return
        for start in range(0, rows, 1000):
            cursor.executemany(
                "INSERT INTO moving_visit (report) VALUES (%s)",
                [(f"{n:040x}" * 5,) for n in range(start, min(start + 1000, rows))],
            )


def _emptied() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE moving_visit SET report_encrypted = NULL")
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM (FULL, ANALYZE) moving_visit")


def _saved() -> None:
    from bench.moving.models import Visit

    for row in Visit.objects.order_by("pk")[:SAVED].iterator():
        row.report = row.report + ""
        row.save()


def _rate(work: Callable[[], object], rows: int) -> float:
    began = perf_counter()
    work()
    return rows / (perf_counter() - began)


def _rate_of(run: RotationRun, rows: int) -> float:
    run.refresh_from_db()
    assert run.finished_at is not None
    return rows / (run.finished_at - run.created_at).total_seconds()


def _say(what: str, rate: float, beside: float | None = None) -> None:
    times = f"{rate / beside:8.1f} times load and save" if beside else ""
    print(f"{what:<20}{rate:>12,.0f} rows a second{times}", flush=True)


# Writers


@contextmanager
def _writers(rows: int) -> Iterator[list[float]]:
    """Have processes load and save rows meanwhile; their latencies are there at the end."""
    latencies: list[float] = []
    command = [sys.executable, "-m", "bench.moving", "--writer", "--rows", str(rows)]
    command += ["--vendor", os.environ["ENVELOPE_BENCH_VENDOR"]]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(WRITERS)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        yield latencies
    finally:
        for each in started:
            out, _ = each.communicate("stop\n")
            latencies += [float(line) for line in out.splitlines()]


def _write_on(rows: int) -> None:
    import threading

    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.moving.settings"
    django.setup()
    from bench.moving.models import Visit

    stop, found = threading.Event(), []
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    chosen = random.Random(os.getpid())
    for number in range(10**9):
        if stop.is_set():
            break
        began = monotonic()
        row = Visit.objects.get(pk=chosen.randint(1, rows))
        row.report = f"written by {os.getpid()} {number}".ljust(200)
        row.save()
        found.append(monotonic() - began)
        if number == 50:
            print("ready", flush=True)
            found.clear()
        sleep(0.002)
    print("\n".join(map(str, found)))


def _say_latency(alone: list[float], meanwhile: list[float]) -> None:
    before, after = median(alone) * 1000, median(meanwhile) * 1000
    print(f"{'latency':<20}{before:9.2f} ms alone, {after:.2f} ms meanwhile: {after / before:.2f}")


def _say_dual_writing() -> None:
    from bench.moving.models import Beside, Visit

    text = "x" * 200
    times = {"both": 1e9, "beside": 1e9}
    moving, beside = Visit.objects.create(report=text), Beside.objects.create(report=text)
    for _ in range(5):
        began = perf_counter()
        for _ in range(500):
            moving.report = text
            moving.save()
        times["both"] = min(times["both"], (perf_counter() - began) / 500)
        began = perf_counter()
        for _ in range(500):
            beside.report, beside.report_clear = text, text
            beside.save()
        times["beside"] = min(times["beside"], (perf_counter() - began) / 500)
    both, alone = (1e6 * times[each] for each in ("both", "beside"))
    print(f"{'dual writing':<20}{both:9.0f} µs, both columns alone {alone:.0f}: {both / alone:.2f}")


if __name__ == "__main__":
    main()
