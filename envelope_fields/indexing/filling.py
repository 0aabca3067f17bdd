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
    return None if term is None else macs.index_value(index, term.alias, term, table.using)


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
    connection, index = connections[table.using], table.index
    quote = connection.ops.quote_name
    same = [f"{quote(field.column)} = %s" for field in index.model._meta.pk_fields]
    heads = [
        f"COALESCE(substr({quote(source.field.column)}, 1, {layout.PAYLOAD_AT}), %s) = %s"
        for source in index.sources
    ]
    sql = (
        f"UPDATE {_escaped(table.column.table_sql)} SET {_escaped(table.column.column_sql)} = %s "  # noqa: S608
        f"WHERE {' AND '.join([*same, *heads])}"
    )
    with connection.cursor() as cursor:
        cursor.executemany(sql, [_params(table, row, made) for row, made in changes])
        return int(cursor.rowcount)


def _params(table: IndexedTable, row: Row, made: bytes | None) -> list[Any]:
    connection, fields = connections[table.using], table.index.model._meta.pk_fields
    items = row.key if isinstance(row.key, tuple) else (row.key,)
    key = [
        field.get_db_prep_value(item, connection) for field, item in zip(fields, items, strict=True)
    ]
    heads = [bytes(head or b"")[: layout.PAYLOAD_AT] for head in row.heads]
    return [made, *key, *(item for head in heads for item in (b"", head))]


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
    return Collision(str(table.index), table.using, other, row.name)


def _escaped(name_sql: str) -> str:
    return name_sql.replace("%", "%%")
