"""Print how fast a column is filled and compared, beside loading and saving each row.

`python -m bench.moving [--vendor postgresql] [--rows 1000000] [--work columns]`, in one run.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from time import monotonic, perf_counter, sleep

from bench.databases import temporary_databases

ROWS, SAVED, WRITERS = 1_000_000, 3_000, 2
SECONDS_OF_WRITING = 10
AT_FULL_SPEED = ("--nice-ratio", "0")
NOTES = """
load and save  rows a second of a loop that loads each object and saves it, in the phase `both`
fill           rows a second of the command that fills the new column, everything included: with
               writers it rests as long as it does by itself, and without not at all
compare        rows a second of the run that opens each row and compares both columns
empty          rows a second of the run that empties the old column, which compares once more
latency        of two writers, each of which loads a row and saves it, again and again: alone, and
               while the column is filled; the median, and the slowest twentieth
dual writing   what save() takes in the phase `both`, beside a model that has both columns

In the table, what each statement takes of this process's time in each phase, in microseconds a row,
beside a model that has the columns it needs and is not converted; the fastest of many rounds."""


def main() -> None:
    options = _options()
    os.environ["ENVELOPE_BENCH_VENDOR"] = options.vendor
    if options.writer:
        _write_on(options.rows)
        return
    with temporary_databases("bench.moving.settings"):
        if options.work != "columns":
            _measure(options.rows)
        if options.work != "rows":
            from bench.moving import columns

            columns.measure()
    print(NOTES)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.moving", description=__doc__)
    parser.add_argument("--vendor", default="postgresql")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--work", choices=["rows", "columns"], help="one of the two alone")
    parser.add_argument("--writer", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(rows: int) -> None:
    from envelope_fields.models import RotationRun

    _fill_table(rows)
    _bring_to("both")
    saved = _rate(_saved, SAVED)
    _say("load and save", saved)
    with _writers(rows) as alone:
        sleep(SECONDS_OF_WRITING)
    with _writers(rows) as meanwhile:
        _bring_to("filling")
    _say("fill, with writers", _rate_of_last(rows), saved)
    _say_latency(alone, meanwhile)

    _bring_to("clear")
    _emptied()  # so that all rows are filled once more
    for what, phase in (("fill", "filling"), ("compare", "verified")):
        _bring_to(phase, *AT_FULL_SPEED)
        _say(what, _rate_of_last(rows), saved)
    _say_dual_writing()
    _bring_to("encrypted", *AT_FULL_SPEED)
    _bring_to("only", *AT_FULL_SPEED)
    _say("empty", _rate_of_last(rows), saved)
    assert not RotationRun.objects.exclude(state="completed").exists()


def _bring_to(phase: str, *options: str) -> None:
    command = [sys.executable, "-m", "django", "convert_field", "moving.Visit.report", *options]
    done = subprocess.run([*command, "--to", phase], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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


def _rate_of_last(rows: int) -> float:
    from envelope_fields.models import RotationRun

    [run] = RotationRun.objects.order_by("-created_at")[:1]
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
    for name, of in (("median", median), ("slowest of 20", _slowest_of_20)):
        before, after = 1000 * of(alone), 1000 * of(meanwhile)
        text = f"{before:.2f} ms alone, {after:.2f} ms meanwhile: {after / before:.2f}"
        print(f"{'latency, ' + name:<24}{text}", flush=True)


def _slowest_of_20(latencies: list[float]) -> float:
    return quantiles(latencies, n=20)[-1]


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
