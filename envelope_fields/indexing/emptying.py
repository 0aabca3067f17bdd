"""Emptying: an index that is retired loses what it has, while its column is still there.

So what one build leaves behind in it keeps no other build from writing, and no row is under its
version of the search key any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

from envelope_fields.indexing.rows import ROWS_AT_ONCE, IndexedTable


def empty(table: IndexedTable) -> Iterator[int]:
    """Write NULL in every row, batch by batch; yield how many rows of each were not empty.

    Raises:
        RowsHidden: rows are hidden from this role.
        ColumnNotThere: the table lacks the column of the index.
        DatabaseError: the database failed.
    """
    index, last = table.index, None
    rows: QuerySet[Model] = QuerySet(index.model, using=table.using)
    rows = rows.filter(**{f"{index.name}__isnull": False}).order_by("pk")
    while True:
        behind = rows if last is None else rows.filter(pk__gt=last)
        with table.read():
            keys = list(behind.values_list("pk", flat=True)[:ROWS_AT_ONCE])
        if not keys:
            return
        last = keys[-1]
        yield _write_null(table, keys)


def _write_null(table: IndexedTable, keys: Sequence[Any]) -> int:
    connection, fields = connections[table.using], table.index.model._meta.pk_fields
    one = " AND ".join(
        f"{_escaped(connection.ops.quote_name(each.column))} = %s" for each in fields
    )
    params = [
        field.get_db_prep_value(item, connection)
        for key in keys
        for field, item in zip(fields, key if isinstance(key, tuple) else (key,), strict=True)
    ]
    column = _escaped(table.column.column_sql)
    sql = (
        f"UPDATE {_escaped(table.column.table_sql)} "  # noqa: S608 - names are quoted
        f"SET {column} = NULL WHERE {column} IS NOT NULL AND ({' OR '.join([one] * len(keys))})"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def _escaped(name_sql: str) -> str:
    return name_sql.replace("%", "%%")
