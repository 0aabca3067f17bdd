"""Filling: the index of each row that lacks it is made and written, if its values are still there.

It can be killed anywhere and run again: what is filled is not looked at any more. A row whose
values are written meanwhile has its index from there, and is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connections, transaction

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.indexing.collisions import Collision
from envelope_fields.indexing.rows import IndexedTable, Row, batches, stops


@dataclass(frozen=True, slots=True)
class Failed:
    """A row whose index could not be made.

    Attributes:
        row: its primary key, as text.
        message: the error; it says nothing of the value.
    """

    row: str
    message: str


@dataclass(slots=True)
class Filled:
    """What became of a batch.

    Attributes:
        written: rows that have their index now.
        kept: those whose index is right, or that have none.
        skipped: others wrote them meanwhile.
        failed: their index could not be made.
        collisions: a unique index has their value already.
    """

    written: int = 0
    kept: int = 0
    skipped: int = 0
    failed: list[Failed] = field(default_factory=list)
    collisions: list[Collision] = field(default_factory=list)


def fill(table: IndexedTable, *, repair: bool = False) -> Iterator[Filled]:
    """Write the index of the rows that have none, batch by batch.

    Args:
        table: the index, which is begun, in one database.
        repair: whether to look at every row, and to write what differs, too.

    Raises:
        EnvelopeError, ImproperlyConfigured: no index can be made.
        RowsHidden: rows are hidden from this role.
        DatabaseError: the database failed.
    """
    index = table.index
    missing: dict[str, Any] = {f"{index.name}__isnull": True}
    missing |= {f"{source.field.name}__isnull": False for source in index.sources}
    for rows in batches(table, **({} if repair else missing)):
        done, changes = Filled(), []
        for row in rows:
            try:
                made = _made(table, row)
            except EnvelopeError as error:
                if stops(error):
                    raise
                done.failed.append(Failed(row.name, str(error)))
                continue
            if made == row.stored:
                done.kept += 1
            else:
                changes.append((row, made))
        _write(table, changes, done)
        yield done


def _made(table: IndexedTable, row: Row) -> bytes | None:
    term = row.term()
    index = table.index
    return None if term is None else macs.value_to_fill(index, term.alias, term, table.using)


_Change = tuple[Row, bytes | None]


def _write(table: IndexedTable, changes: Sequence[_Change], done: Filled) -> None:
    """Write what still belongs to the values of its row; one by one, where one is refused."""
    if not changes:
        return
    try:
        with transaction.atomic(using=table.using):
            written = _swap(table, changes)
    except IntegrityError:
        if len(changes) == 1:
            done.collisions.append(_collision(table, *changes[0]))
            return
        for change in changes:
            _write(table, [change], done)
        return
    done.written += written
    done.skipped += len(changes) - written


def _swap(table: IndexedTable, changes: Sequence[_Change]) -> int:
    """Write the index of rows whose values still begin as they were read.

    In one statement, where rows are told apart by one column each: an envelope begins with a nonce
    of its own, and none of these beginnings is found in another row. NULL is.
    """
    connection, index = connections[table.using], table.index
    keys = index.model._meta.pk_fields
    has_null = any(None in row.heads for row, _ in changes)
    if len(changes) > 1 and (has_null or len(keys) + len(index.sources) > 2):
        return sum(_swap(table, [change]) for change in changes)
    quote, marks = connection.ops.quote_name, ", ".join(["%s"] * len(changes))
    conditions = [f"{quote(field.column)} IN ({marks})" for field in keys]
    conditions += [
        f"COALESCE(substr({quote(source.field.column)}, 1, {layout.PAYLOAD_AT}), %s) IN ({marks})"
        for source in index.sources
    ]
    stored = _escaped(table.column.column_sql)  # also for the type, where all others are NULL
    made = f"CASE {quote(keys[0].column)} {'WHEN %s THEN %s ' * len(changes)}ELSE {stored} END"
    sql = (
        f"UPDATE {_escaped(table.column.table_sql)} "  # noqa: S608 - names are quoted
        f"SET {stored} = {made} WHERE {' AND '.join(conditions)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, _params(table, changes))
        return int(cursor.rowcount)


def _params(table: IndexedTable, changes: Sequence[_Change]) -> list[Any]:
    keys = [_key(table, row) for row, _ in changes]
    heads = [_heads(row) for row, _ in changes]
    made = [each for key, (_, value) in zip(keys, changes, strict=True) for each in (key[0], value)]
    of_keys = [item for column in zip(*keys, strict=True) for item in column]
    of_heads = [item for column in zip(*heads, strict=True) for item in (b"", *column)]
    return [*made, *of_keys, *of_heads]


def _key(table: IndexedTable, row: Row) -> list[Any]:
    connection, fields = connections[table.using], table.index.model._meta.pk_fields
    items = row.key if isinstance(row.key, tuple) else (row.key,)
    return [
        field.get_db_prep_value(item, connection) for field, item in zip(fields, items, strict=True)
    ]


def _heads(row: Row) -> list[bytes]:
    return [bytes(head or b"")[: layout.PAYLOAD_AT] for head in row.heads]


def _collision(table: IndexedTable, row: Row, made: bytes | None) -> Collision:
    connection, index = connections[table.using], table.index
    quote = connection.ops.quote_name
    keys = ", ".join(quote(field.column) for field in index.model._meta.pk_fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {keys} FROM {_escaped(table.column.table_sql)} "  # noqa: S608 - quoted
            f"WHERE {_escaped(table.column.column_sql)} = %s",
            [made],
        )
        found = cursor.fetchone()
    other = "" if found is None else ", ".join(map(str, found))
    return Collision(str(table.index), table.using, table.schema, other, row.name)


def _escaped(name_sql: str) -> str:
    return name_sql.replace("%", "%%")
