"""How much more memory a process needs, the longer it iterates over encrypted rows.

It runs in a process of its own, which does nothing else: `python -m bench.memory ROWS`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

BATCH = 2_000
SAMPLE = 10_000  # rows between two looks at the memory


def growth(rows: int) -> int:
    """Return by how many bytes a process grows between its first rows and the last of `rows`."""
    command = [sys.executable, "-m", "bench.memory", str(rows)]
    environment = {**os.environ, "ENVELOPE_BENCH_SERVERS": ""}
    return int(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def _measure(rows: int) -> int:
    from bench.databases import temporary_databases

    with temporary_databases():
        from bench.comparison import text
        from bench.models import Encrypted

        for start in range(0, rows, BATCH):
            numbers = range(start, min(start + BATCH, rows))
            Encrypted.objects.bulk_create(Encrypted(value=text(64, n)) for n in numbers)
        samples = [
            _resident_bytes()
            for number, _ in enumerate(Encrypted.objects.iterator(), start=1)
            if number % SAMPLE == 0 or number == rows
        ]
        return max(samples) - samples[0]


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:  # not on Linux: the most that it ever was has to do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    print(_measure(int(sys.argv[1])))
