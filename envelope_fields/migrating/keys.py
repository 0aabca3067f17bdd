"""The tables of keys, which going back to before migration `0001` would drop, and `flush` empties.

The keys in them are gone then, and with them every value that is stored under one.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig, apps
from django.db import connections, router
from django.db.migrations import Migration
from django.db.models.signals import pre_migrate

from envelope_fields.census import CensusRow, NotCounted, census, not_counted
from envelope_fields.census.text_copies import TextCopies, text_copies
from envelope_fields.census.uncounted import undeclared
from envelope_fields.census.versions import key_versions
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import MasterKey, MasterKeyVersion


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
    """Return where values would stay whose keys go when a database is flushed; empty if nowhere.

    Raises:
        CensusFailed: that could not be counted.
    """
    emptied = connections[using].introspection.django_table_names(
        only_existing=True, include_views=False
    )
    if using != configuration().database or MasterKey._meta.db_table not in emptied:
        return ""
    unseen = [each for each in not_counted() if each.database != using]
    return _values_text(
        [each for each in census() if each.database != using or not _is_emptied(each, emptied)],
        [each for each in _copies() if each.database != using or not _is_emptied(each, emptied)],
        [*undeclared(using), *unseen],
    )


def _is_emptied(found: CensusRow | TextCopies, tables: Iterable[str]) -> bool:
    """Whether values go with a flush, which empties the tables that the search path finds."""
    return found.schema is None and apps.get_model(found.model)._meta.db_table in tables


def _values_under_keys() -> str:
    return _values_text(census(), _copies(), undeclared())


def _copies() -> list[TextCopies]:
    return text_copies(version.version_id for version in key_versions())


def _values_text(
    rows: Iterable[CensusRow], copies: Iterable[TextCopies], unseen: Iterable[NotCounted]
) -> str:
    """Return where there are values, and how many, but for those of unknown versions."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row.version is not None:
            counts[row.location] += row.values
    counted = [f"{location} ({values})" for location, values in counts.items()]
    return ", ".join([*counted, *map(str, copies), *map(str, unseen)])


def _makes_them(migration: Migration) -> bool:
    return migration.app_label == MasterKeyVersion._meta.app_label and bool(migration.initial)
