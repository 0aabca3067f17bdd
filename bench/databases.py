"""The databases of a run: made for it, and removed with all that is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.test.utils import setup_databases, teardown_databases


@contextmanager
def temporary_databases(settings: str = "bench.settings") -> Iterator[None]:
    """Set Django up, and lend migrated databases."""
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    django.setup()
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        from envelope_fields.audit import uses as key_uses

        key_uses.flush()  # nowhere to write them after
        teardown_databases(made, verbosity=0)
