"""Rows that an index lacks which lookups ask: builds that do not know it have written them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import DatabaseError, connections, router, transaction

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, checked_models
from envelope_fields.crypto.format import OVERHEAD_BYTES
from envelope_fields.databases import database, is_configured
from envelope_fields.databases.errors import says_no_column, says_no_table
from envelope_fields.fields import BlindIndexField
from envelope_fields.models import BlindIndex, IndexState

MOST = 10_000  # rows without an index that are looked at
_LEAVE_NO_VALUE_OUT = ("exact", "casefold", "email")  # but for an empty one


def check_unindexed_rows(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for rows that have a value and no index, where lookups ask the index."""
    declared = [
        field
        for model in checked_models(app_configs)
        for field in model._meta.local_fields
        if isinstance(field, BlindIndexField) and _has_all_values(field)
    ]
    keys = keys_database(databases, BlindIndex) if declared else None
    if keys is None:
        return []
    begun = BlindIndex.objects.using(keys).filter(state=IndexState.READING)
    reading = set(begun.values_list("label", flat=True))
    indexes = [index for index in declared if index.field_path in reading]
    return [
        message for using in databases or () for each in indexes for message in _of(each, using)
    ]


def _has_all_values(index: Any) -> bool:
    """Whether each value is in an index that is not empty."""
    return index.normalizer in _LEAVE_NO_VALUE_OUT and not any(
        source.path for source in index.sources
    )


def _of(index: Any, using: str) -> Iterator[CheckMessage]:
    may_be_there = router.allow_migrate_model(using, index.model)
    if not may_be_there or not is_configured(connections[using]):
        return
    missing = _unindexed(index, using)
    if missing:
        yield Warning(
            f"{index} lacks {missing:,} rows in the database {using!r} that have a value: no "
            "lookup finds them, and nothing keeps them unique.",
            hint="A build that does not know the index has written them, or SQL of your own. End "
            f"that, and run `python manage.py rebuild_indexes {index.field_path}`, which fills it "
            "while lookups ask it, and lists rows whose values are there twice.",
            obj=index,
            id="envelope_fields.W082",
        )


def _unindexed(index: Any, using: str) -> int:
    """Return how many rows have a value and no index, of the first that have none."""
    quote = connections[using].ops.quote_name
    columns = [f"stored.{quote(source.field.column)}" for source in index.sources]
    named = [f"{column} AS value_{number}" for number, column in enumerate(columns)]
    given = [f"length(value_{number}) > {OVERHEAD_BYTES}" for number in range(len(columns))]
    sql = (
        f"SELECT count(*) FROM (SELECT {', '.join(named)} "  # noqa: S608 - names are quoted
        f"FROM {quote(index.model._meta.db_table)} AS stored "
        f"WHERE stored.{quote(index.column)} IS NULL LIMIT {MOST}) AS unindexed "
        f"WHERE {' AND '.join(given)}"
    )
    try:
        with transaction.atomic(using=using):
            [[missing]] = database(using).fetch(sql)
    except DatabaseError as error:
        if says_no_table(error) or says_no_column(error):  # before a migration
            return 0
        raise
    return int(missing)
