"""The columns that values are bound to: which may be, and what each contributes to a context.

What is bound is the value as Django has it, in its canonical bytes
(`docs/spec/canonical-values-v1.md`), and never what a driver makes of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import CharField, FilePathField

from envelope_fields.crypto import canonical
from envelope_fields.crypto.context import row_contexts
from envelope_fields.databases import database
from envelope_fields.fields.bindable import is_text, not_bindable, referred, type_of

_LIMITED = (CharField, FilePathField)  # whose columns have a greatest length
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
        """Raise if a database would store another text than values are bound to.

        Args:
            value: what is written.
            using: the database; None where it is not known yet.

        Raises:
            FieldError: it would.
            TypeError, ValueError, ValidationError: it is not a value of the column.
        """
        text = self._meant(value)
        # Spaces at the end are left out without a word, and by MariaDB's loose mode the rest, too.
        if text is not None and self.max_length is not None and len(text) > self.max_length:
            raise FieldError(
                f"{self.field} is given more than its {self.max_length} characters, and values are "
                "bound to it: the database may leave out the rest."
            )
        if type(value) is str or using is None or not database(using).WRITES_AS_SHOWN:
            return
        written = self._target.get_prep_value(value)
        if isinstance(written, str) and str(written) != text:
            raise FieldError(
                f"{self.field} is given {type(value).__name__}, of which the database {using!r} "
                "stores what str() makes, and values are bound to it. Assign a plain text, such as "
                "the .value of an enum, or make that a TextChoices."
            )


class Binding:
    """What values of a field are bound to, at present or before: a label, and columns.

    Args:
        label: the label.
        columns: the columns, in their order.
        row_names: the attributes that a row is of; the values of a row come in this order.
    """

    def __init__(
        self, label: str, columns: Sequence[BoundColumn], row_names: Sequence[str]
    ) -> None:
        self._context = row_contexts(label, [(each.name, each.encoded) for each in columns])
        self._places = [row_names.index(each.attname) for each in columns]
        places = zip(columns, self._places, strict=True)
        self._texts = [(each, place) for each, place in places if is_text(each.field)]

    def context(self, row: Sequence[Any]) -> bytes:
        """Return the context of a row; errors as `BoundColumn.encoded` raises them."""
        return self._context([row[place] for place in self._places])

    def context_to_write(self, row: Sequence[Any], using: str | None) -> bytes:
        """Return the context of a row that is about to be written; errors also of `refuse_altered`.

        Args:
            row: the row.
            using: the database; None where it is not known yet.
        """
        for column, place in self._texts:
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
