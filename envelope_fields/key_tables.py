"""The tables of keys, which going back to before migration `0001` would drop.

The keys in them are gone then, and with them every value that is stored under one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.apps import AppConfig
from django.db import router
from django.db.migrations import Migration
from django.db.models.signals import pre_migrate

from envelope_fields.census import census
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import MasterKeyVersion


class KeysInUse(EnvelopeError):
    """Migrating back would drop keys that stored values are under."""


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    pre_migrate.connect(_refuse, sender=app, dispatch_uid="envelope_fields.key_tables")


def _refuse(*, using: str, plan: list[tuple[Migration, bool]] | None = None, **_: Any) -> None:
    if not any(backwards and _makes_them(migration) for migration, backwards in plan or []):
        return
    if using != configuration().database or not router.allow_migrate_model(using, MasterKeyVersion):
        return
    there = _values_under_keys()
    if there:
        raise KeysInUse(
            f"Reversing the first migration of envelope_fields would drop the keys of {using!r}, "
            f"and values are stored under them: {there}. None could be read again. Delete these "
            "values first, or drop their columns."
        )


def _values_under_keys() -> str:
    """Say where there are values, and how many; those of unknown versions have no keys to lose."""
    counts: Counter[str] = Counter()
    for row in census():
        if row.version is not None:
            counts[row.place] += row.values
    return ", ".join(f"{place} ({values})" for place, values in counts.items())


def _makes_them(migration: Migration) -> bool:
    return migration.app_label == MasterKeyVersion._meta.app_label and bool(migration.initial)
