"""Settings of the benchmark of columns that move: those of rotations, and another application."""

from bench.rotation_settings import *  # noqa: F403 - the rest is the same
from bench.rotation_settings import ENVELOPE_FIELDS, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "bench.moving"]
ENVELOPE_FIELDS["KEY_CACHE_SECONDS"] = 1
