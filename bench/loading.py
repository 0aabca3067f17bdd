"""Tables of a million rows, filled as fast as a database takes them: past the ORM, in batches.

What is stored is what the ORM would store. How long this takes is no measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db import connections, transaction
from django.db.models import Model

AT_ONCE = 10_000
AT_ONCE_MYSQL = 2_000  # what fits into one statement everywhere

Rows = Sequence[Sequence[Any]]


def email(number: int) -> str:
    """Return an address that no other number has."""
    return f"Patient.{number:08}@clinic.example"


def load(model: type[Model], using: str, names: Sequence[str], rows: Iterable[Any]) -> None:
    """Fill a table that is empty, and let the planner know of it.

    Args:
        model: whose table it is.
        using: the database.
        names: the fields that have values.
        rows: the values of each row, as they are stored.
    """
    connection = connections[using]
    quote, fields = connection.ops.quote_name, [model._meta.get_field(name) for name in names]
    table = quote(model._meta.db_table)
    columns = ", ".join(quote(field.column) for field in fields)  # type: ignore[union-attr]  # they have one
    size, write = _WRITERS[connection.vendor]
    connection.ensure_connection()
    for batch in _batches(rows, size):
        with transaction.atomic(using=using):
            write(connection, f"{table} ({columns})", len(names), batch)
    settle(model, using)


def settle(model: type[Model], using: str) -> None:
    """Let nothing that is measured pay for what was written before."""
    statement = {"postgresql": "VACUUM (ANALYZE) {}", "mysql": "ANALYZE TABLE {}"}
    connection = connections[using]
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(statement.get(connection.vendor, "ANALYZE {}").format(table))
        cursor.fetchall() if connection.vendor == "mysql" else None


def envelopes(model: type[Model], name: str, values: Iterable[Any]) -> Iterator[bytes]:
    """Encrypt values of a field, as its model would, without the model."""
    from envelope_fields.fields.prepared import Unencrypted

    write = model._meta.get_field(name).writer  # type: ignore[union-attr]  # an encrypted field
    for value in values:
        yield write(Unencrypted(value, None), None)


def _batches(rows: Iterable[Any], size: int) -> Iterator[Rows]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _postgresql(connection: Any, into: str, width: int, rows: Rows) -> None:
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {into} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _mysql(connection: Any, into: str, width: int, rows: Rows) -> None:
    marks = "(" + ", ".join(["%s"] * width) + ")"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {into} VALUES {', '.join([marks] * len(rows))}",
            [item for row in rows for item in row],
        )


def _sqlite(connection: Any, into: str, width: int, rows: Rows) -> None:
    marks = ", ".join(["%s"] * width)
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {into} VALUES ({marks})", rows)


_WRITERS: dict[str, tuple[int, Callable[[Any, str, int, Rows], None]]] = {
    "postgresql": (AT_ONCE, _postgresql),
    "mysql": (AT_ONCE_MYSQL, _mysql),
    "sqlite": (AT_ONCE, _sqlite),
}
