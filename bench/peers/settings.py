"""The settings of the benchmark, with the packages that are installed here."""

import os
from pathlib import Path

from bench.peers.packages import PACKAGES
from bench.settings import *  # noqa: F403 - the rest is the same
from bench.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "bench.peers"]
SECRET_KEY = "only-for-the-benchmark"

for _package in PACKAGES:
    if _package.is_installed():
        globals().update(_package.settings(Path(os.environ["ENVELOPE_BENCH_DIRECTORY"])))
