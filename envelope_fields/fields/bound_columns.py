"""The columns that values are bound to: which may be, and what each contributes to a context.

What is bound is the value as Django has it, in its canonical bytes
(`docs/spec/canonical-values-v1.md`), and never what a driver makes of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, FieldError, ImproperlyConfigured
from django.db import connections, models

from envelope_fields.crypto import canonical
from envelope_fields.crypto.canonical import CanonicalType
from envelope_fields.crypto.context import row_contexts
from envelope_fields.databases import database

_LIMITED = (models.CharField, models.FilePathField)  # whose columns have a greatest length
_VALUE = canonical.nullable("", canonical.TEXT)  # what is in front of a value that is not NULL

Name = str | tuple[str, str]  # of a column; or what it was called, and the column that it is now
Names = tuple[Name, ...]


class BoundColumn:
    """A column that values are bound to.

    Args:
        field: the field that has it.
        name: what it is called in the context.

    Attributes:
        attname: the attribute that has its value.
    """

    def __init__(self, field: Any, name: str) -> None:
        self.field = field
        self.name = name
        self.attname: str = field.attname
        self._target = target = referred(field)
        self._type, self._plain = type_of(target) or (canonical.TEXT, str)
        self._encode = self._type.encode
        # Another class may make something else of a value that has the type already.
        self._is_djangos = type(target).__module__.startswith("django.db.models.")
        self.may_be_altered = self._plain in (int, str)  # by databases that refuse nothing
        self.max_length: int | None = target.max_length if isinstance(target, _LIMITED) else None

    def encoded(self, value: Any) -> bytes:
        """Return a value as a nullable part of a context.

        Raises:
            FieldError: there is none yet, or it is an expression: what it will be is not known.
            TypeError, ValueError, ValidationError: it is not a value of the column.
        """
        if type(value) is self._plain and self._is_djangos:
            return _VALUE + self._encode(value)
        return canonical.nullable(self._meant(value), self._type)

    def _meant(self, value: Any) -> Any:
        if value is None and not self.field.null:
            raise FieldError(f"{self.field} has no value yet, and values are bound to it.")
        if hasattr(value, "resolve_expression"):
            raise FieldError(
                f"{self.field} is an expression, and values are bound to what it is. Give it a "
                "plain value before the object is saved."
            )
        value = self._as_stored(value)
        value = value.value if isinstance(value, Enum) else value
        if value is None or isinstance(value, self._plain):
            return value
        raise TypeError(
            f"{self.field}: values cannot be bound to what its to_python() returns, which is "
            f"{type(value).__name__} and not {self._plain.__name__}."
        )

    def _as_stored(self, value: Any) -> Any:
        """Return what a row has of a value when it is loaded again."""
        # Not of the value of an enum: some fields store its name, and this says which.
        meant = self._target.to_python(value)
        if self._is_djangos or meant is None:
            return meant
        if self._target.to_python(self._target.get_prep_value(value)) != meant:
            raise FieldError(
                f"{self.field} stores another value than it is given, and values are bound to it. "
                "Assign what it stores before the object is saved."
            )
        return meant

    def refuse_altered(self, value: Any, using: str | None) -> None:
        """Raise if a database would store another text or number than values are bound to.

        Args:
            value: what is written.
            using: the database; None where it is not known yet.

        Raises:
            FieldError: it would.
            TypeError, ValueError, ValidationError: it is not a value of the column.
        """
        if type(value) is int and 0 <= value < 2**15:
            return  # there is room for it
        meant = self._meant(value)
        if isinstance(meant, str):
            self._refuse_altered_text(value, meant, using)
        elif isinstance(meant, int) and using is not None:
            # Where MariaDB is not strict, it takes the next number that there is room for.
            ops: Any = connections[using].ops
            low, high = ops.integer_field_range(self._target.get_internal_type())
            if low is not None and not low <= meant <= high:
                raise FieldError(
                    f"{self.field} is given a number from outside {low} to {high}, and values are "
                    "bound to it: the database may store another one."
                )

    def _refuse_altered_text(self, value: Any, text: str, using: str | None) -> None:
        # Spaces at the end are left out without a word, and by MariaDB's loose mode the rest, too.
        if self.max_length is not None and len(text) > self.max_length:
            raise FieldError(
                f"{self.field} is given more than its {self.max_length} characters, and values are "
                "bound to it: the database may leave out the rest."
            )
        written = text if type(value) is str else self._target.get_prep_value(value)
        if using is None or not isinstance(written, str):
            return
        table, column = self.field.model._meta.db_table, self.field.column
        if database(using).as_stored(written, table, column) != text:
            raise FieldError(
                f"{self.field} is given {type(value).__name__}, of which the database {using!r} "
                "stores another text, and values are bound to it. Assign a plain text, such as the "
                ".value of an enum; a column of the character set utf8mb4 has all characters."
            )


class Binding:
    """What values of a field are bound to, at present or before: a label, and columns.

    Args:
        columns: the columns, in their order.
        row_names: the attributes that a row is of; the values of a row come in this order.
    """

    def __init__(
        self, label: str, columns: Sequence[BoundColumn], row_names: Sequence[str]
    ) -> None:
        self._context = row_contexts(label, [(each.name, each.encoded) for each in columns])
        self._places = [row_names.index(each.attname) for each in columns]
        places = zip(columns, self._places, strict=True)
        self._alterable = [(each, place) for each, place in places if each.may_be_altered]

    def context(self, row: Sequence[Any]) -> bytes:
        """Return the context of a row; errors as `BoundColumn.encoded` raises them."""
        return self._context([row[place] for place in self._places])

    def context_to_write(self, row: Sequence[Any], using: str | None) -> bytes:
        """Return the context of a row that is about to be written; errors also of `refuse_altered`.

        Args:
            using: the database; None where it is not known yet.
        """
        for column, place in self._alterable:
            column.refuse_altered(row[place], using)
        return self.context(row)


def as_names(given: Iterable[Any]) -> Names:
    """Return names as they are kept and written into migrations."""
    given = (given,) if isinstance(given, str) else given  # which a check reports
    return tuple(tuple(name) if isinstance(name, list) else name for name in given)


def names_in(names: Names) -> Iterator[tuple[str, str]]:
    """Yield for each entry what a column was called, and what it is called now."""
    for name in names:
        if isinstance(name, tuple) and len(name) == 2:
            yield str(name[0]), str(name[1])
        else:
            yield str(name), str(name)  # of what is no name, there is no column


def bound_columns(model: Any, names: Names) -> list[BoundColumn]:
    """Return the columns of a model that names mean.

    Raises:
        ImproperlyConfigured: values cannot be bound to one of them.
    """
    found = []
    for earlier, present in names_in(names):
        problem = not_bindable(model, present)
        if problem is not None:
            raise ImproperlyConfigured(f"{problem.wrong} {problem.hint}")
        field = model._meta.get_field(present)
        found.append(BoundColumn(field, field.attname if earlier == present else earlier))
    return found


# -- Which columns may be --------------------------------------------------------------------------

_TEXTS = (models.CharField, models.TextField, models.FilePathField)
_BINDABLE: tuple[tuple[Any, CanonicalType, type], ...] = (
    (models.IntegerField, canonical.INTEGER, int),
    (_TEXTS, canonical.TEXT, str),
    (models.UUIDField, canonical.UUID_BYTES, UUID),
    (models.DateField, canonical.DATE, date),
)
_MADE_BY_THE_DATABASE = (models.AutoField, models.BigAutoField, models.SmallAutoField)


class NotBindable(NamedTuple):
    """Why values cannot be bound to a column, and the way out."""

    wrong: str
    hint: str


def column_named(model: Any, name: str) -> Any:
    """Return the field of a model that a name or attname means; None if it has no column."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if getattr(field, "column", None) is not None else None


def referred(field: Any) -> Any:
    """Return the field whose values a foreign key has, or the field itself."""
    while field.remote_field is not None:
        field = field.target_field
    return field


def is_text(field: Any) -> bool:
    """Whether the values of a column are texts."""
    return isinstance(referred(field), _TEXTS)


def not_bindable(model: Any, name: str) -> NotBindable | None:
    """Return why values of a model's rows cannot be bound to a column; None if they can."""
    field = column_named(model, name)
    if field is None:
        return NotBindable(
            f"{model._meta.label} has no column {name!r} that values could be bound to.",
            "Name a field with a column of its own, such as the primary key or a foreign key.",
        )
    hint = _hint(model, field)
    return None if hint is None else NotBindable(f"Values cannot be bound to {field}.", hint)


def _hint(model: Any, field: Any) -> str | None:
    """Return why no value can be bound to a column, and the way out; None if it can."""
    if hasattr(field, "to_plaintext"):
        return "It is encrypted itself. Bind them to a plain column."
    if field.model._meta.concrete_model is not model._meta.concrete_model:
        return (
            "It is a column of a parent's table, which is written by statements of its own. Bind "
            "them to the link to the parent, or declare the encrypted field in the parent."
        )
    if _is_made_by_the_database(field):
        return (
            "The database makes its value, which is not known when a row is encrypted. For a key, "
            "use UUIDField(primary_key=True, default=uuid.uuid4); for others, use default=."
        )
    if type_of(referred(field)) is None:
        return (
            "What is written and what comes back from a database are not always the same for its "
            "type. Bind them to an integer, a text, a UUID, a date, or a foreign key to one of "
            "these."
        )
    if _is_made_while_saving(field):
        return (
            "Its value is made while the row is saved, which may be after the value was "
            "encrypted. Use default=, or assign it before."
        )
    return None


def type_of(field: Any) -> tuple[CanonicalType, type] | None:
    """Return how values of a column are encoded, and their type; None if it has no such type."""
    if isinstance(field, models.DateTimeField):
        return None
    for classes, canonical_type, plain in _BINDABLE:
        if isinstance(field, classes):
            return canonical_type, plain
    return None


def _is_made_by_the_database(field: Any) -> bool:
    is_made = isinstance(field, _MADE_BY_THE_DATABASE) or getattr(field, "generated", False)
    return bool(is_made or field.has_db_default())


def _is_made_while_saving(field: Any) -> bool:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return True
    kind: Any = type(field)
    return kind.pre_save not in (models.Field.pre_save, models.DateField.pre_save)
