"""What fields give to Django as parts of its statements, and to nothing else.

Django compiles them, and completes what is written by the columns beside a value. A package that
writes by SQL of its own hands to its driver what a field has prepared, and would leave those as
they were.
"""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import BinaryField
from django.db.models.sql import InsertQuery, UpdateQuery

from envelope_fields.fields.defaults import is_historical

HAS_PLACEHOLDER_SQL = hasattr(BinaryField, "get_placeholder_sql")  # from Django 6.1 on


class PartOfStatement:
    """Refuses to be a parameter: drivers do not know it, or ask for what raises here."""

    def __str__(self) -> str:  # MySQL's
        raise written_otherwise(self)

    def __conform__(self, protocol: Any) -> Any:  # SQLite's
        raise written_otherwise(self)


def written_otherwise(part: Any) -> FieldError:
    """Return the error for code beside Django that writes such a part."""
    return FieldError(
        f"{part!r} goes with a statement of Django's, which writes the columns beside it, too: "
        "that of save(), update(), bulk_create() or bulk_update(). A package that writes by SQL of "
        "its own would leave them as they were."
    )


class WithColumnsBeside(PartOfStatement):
    """What is written of a field that has a blind index, or converts a column in clear.

    Attributes:
        field: the encrypted field.
        written: its envelope; None for NULL.
    """

    def __init__(self, field: Any, written: bytes | None) -> None:
        self.field = field
        self.written = written

    def __repr__(self) -> str:
        return f"<Value of {self.field}>"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if self.field not in _fields_of(compiler.query):
            raise written_otherwise(self)
        self.field.look_at(compiler)
        return ("NULL", ()) if self.written is None else as_parameter(self.written, compiler)


def with_columns_beside(field: Any, written: bytes | None) -> Any:
    """Return what is written of a value that came without its row; to fields of migrations, bytes.

    The schema editor hands them to the driver.
    """
    has_columns = field.indexes or field.converts is not None
    if not has_columns or is_historical(field.model):
        return written
    return WithColumnsBeside(field, written)


def _fields_of(query: Any) -> Collection[Any]:
    """Return the fields that a statement of Django's writes."""
    if isinstance(query, UpdateQuery):
        return [field for field, _, _ in vars(query)["values"]]
    return list(query.fields) if isinstance(query, InsertQuery) else ()


def as_parameter(content: bytes, compiler: Any) -> tuple[str, Any]:
    """Return SQL for bytes that go into a column, or are compared with one."""
    operations = compiler.connection.ops
    if HAS_PLACEHOLDER_SQL:
        sql, params = operations.binary_placeholder_sql(content, compiler)
        return sql, tuple(params)
    return operations.binary_placeholder_sql(content), (content,)
