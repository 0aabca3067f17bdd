"""The tables of keys, which going back to before migration `0001` would drop, and `flush` empties.

The keys in them are gone then, and with them every value that is stored under one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig, apps
from django.db import connections, router
from django.db.migrations import Migration
from django.db.models.signals import pre_migrate

from envelope_fields.census import CensusRow, census, not_counted
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.key_versions import key_versions
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.text_copies import text_copies


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


def values_that_stay(using: str) -> str:
    """Say where values would be left whose keys go when a database is flushed; empty if nowhere.

    Raises:
        CensusFailed: that could not be counted.
    """
    emptied = connections[using].introspection.django_table_names(
        only_existing=True, include_views=False
    )
    if using != configuration().database or MasterKey._meta.db_table not in emptied:
        return ""
    rows = [row for row in census() if row.database != using or not _is_emptied(row, emptied)]
    unseen = [each for each in not_counted() if each.database != using]
    others = [alias for alias in connections if alias != using]
    ids = [version.version_id for version in key_versions()]
    copies = [each for alias in others for each in text_copies(ids, database=alias)]
    return ", ".join(filter(None, [_places(rows), *map(str, copies), *map(str, unseen)]))


def _is_emptied(row: CensusRow, tables: Iterable[str]) -> bool:
    """Whether values go with a flush, which empties the tables that the search path finds."""
    return row.schema is None and apps.get_model(row.model)._meta.db_table in tables


def _values_under_keys() -> str:
    return _places(census())


def _places(rows: Iterable[CensusRow]) -> str:
    """Say where there are values, and how many; those of unknown versions have no keys to lose."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row.version is not None:
            counts[row.place] += row.values
    return ", ".join(f"{place} ({values})" for place, values in counts.items())


def _makes_them(migration: Migration) -> bool:
    return migration.app_label == MasterKeyVersion._meta.app_label and bool(migration.initial)
