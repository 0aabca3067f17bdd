"""The rows of a column as Django loads them: for the keys that they ask for, and what they are.

Also what jobs have in common whose values go under the keys of their rows.

What a field's `key=` is asked about, and what values are bound to, is what Django makes of a row,
and never what a driver does.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db import connections
from django.db.models import Model, QuerySet

from envelope_fields.census.columns import Column
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.columns import of_envelopes
from envelope_fields.fields.keys import managed_by
from envelope_fields.fields.reading import converters_of
from envelope_fields.jobs.job import Change, Job, Key
from envelope_fields.keyring.rows import rolled_back_with
from envelope_fields.keyring.transfer import Transfer
from envelope_fields.models import DEFAULT_ALIAS

# What is raised where a column has what no value can be bound to.
UNBOUND = (FieldError, TypeError, ValueError, ValidationError)


class RowNotLoaded(EnvelopeError):
    """The row is gone, or Django did not find it by its primary key."""

    def __init__(self) -> None:
        super().__init__("The row could not be loaded to ask what its value needs.")


def starting_with(head: bytes, values: Sequence[Any]) -> bytes | None:
    """Return the value that begins with a head, of those that rows with one primary key have."""
    as_bytes = (bytes(value) for value in values if value and not isinstance(value, str))
    return next((value for value in as_bytes if value.startswith(head)), None)


class Rows:
    """Loads rows of a column, past managers that hide some.

    Args:
        names: the fields to load; by default all that are not encrypted.
    """

    def __init__(self, column: Column, names: Iterable[str] = ()) -> None:
        self._column = column
        self._names = tuple(names)
        self._keys = column.model._meta.pk_fields

    def of(self, keys: Sequence[Key], *, lock: bool = False) -> dict[Key, Model]:
        """Return the rows that are there, by some primary keys as the driver gave them.

        Args:
            lock: whether to lock the rows until the transaction ends.
        """
        with self._column.found_by_name():
            return self._loaded(keys, lock)

    def _loaded(self, keys: Sequence[Key], lock: bool) -> dict[Key, Model]:
        as_loaded = self._converter()
        wanted = {as_loaded(key): key for key in keys}
        found = self._queryset().filter(
            pk__in=list(wanted) if len(self._keys) > 1 else [key for (key,) in wanted]
        )
        found = found.select_for_update() if lock else found
        rows = {tuple(getattr(row, field.attname) for field in self._keys): row for row in found}
        return {wanted[key]: row for key, row in rows.items() if key in wanted}

    def _queryset(self) -> QuerySet[Model]:
        rows: QuerySet[Model] = QuerySet(self._column.model, using=self._column.database)
        if self._names:
            return of_envelopes(rows).only(*self._names)
        fields = self._column.model._meta.concrete_fields
        return rows.defer(*(each.name for each in fields if isinstance(each, EncryptedFieldMixin)))

    def _converter(self) -> Callable[[Key], Key]:
        """Return what makes of a key of the driver what Django makes of it in a loaded row."""
        connection, table = connections[self._column.database], self._column.model._meta.db_table
        columns = [field.get_col(table) for field in self._keys]
        converters = [converters_of(column, connection) for column in columns]
        if not any(converters):
            return tuple

        def as_loaded(key: Key) -> Key:
            found = []
            for item, column, of_item in zip(key, columns, converters, strict=True):
                for convert in of_item:
                    item = convert(item, column, connection)
                found.append(item)
            return tuple(found)

        return as_loaded


class BoundRows:
    """What the values of a column are bound to, row by row; nothing where they are not."""

    def __init__(self, column: Column) -> None:
        self._field: Any = column.encrypted_field
        names = [each.name for each in (*column.model._meta.pk_fields, *self._field.bound_fields)]
        self._rows = Rows(column, names)
        self._known: dict[Key, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._field.is_bound)

    def load(self, keys: Sequence[Key]) -> None:
        """Load what the values of some rows are bound to now."""
        self._known = self._present(keys) if self else {}

    def contexts(self, key: Key) -> Sequence[bytes]:
        """Return the contexts under which the value of a row may be read, the present one first.

        Raises:
            RowNotLoaded: it is gone.
            FieldError, TypeError, ValueError: a column has what no value can be bound to.
        """
        if not self:
            return tuple(self._field.contexts)
        if key not in self._known:
            raise RowNotLoaded
        return tuple(self._field.contexts_of(self._known[key]))

    def unmoved(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return those of some changes whose rows are what they were when they were loaded.

        The rows are locked, so that they stay so.
        """
        if not self:
            return changes
        present = self._present([change.key for change in changes], lock=True)
        return [
            change
            for change in changes
            if change.key in present and present[change.key] == self._known.get(change.key)
        ]

    def _present(self, keys: Sequence[Key], *, lock: bool = False) -> dict[Key, Any]:
        rows = self._rows.of(keys, lock=lock)
        return {key: self._field.row_of(row) for key, row in rows.items()}


class RowAliases:
    """The aliases that the rows of a column write under; `differ` says whether each has its own."""

    def __init__(self, column: Column) -> None:
        self._rows = Rows(column)
        self._key = column.encrypted_field.key
        self._column = column
        self._known: dict[Key, str | Exception] = {}
        self.differ = callable(self._key)

    def load(self, keys: Sequence[Key], transfer: Transfer) -> None:
        """Ask for those of some rows, and have their master keys at hand."""
        self._known = self.of(keys)
        transfer.prepare({alias for alias in self._known.values() if isinstance(alias, str)})

    def of_row(self, key: Key) -> str:
        """Return that of a row; raises why it could not be asked for."""
        found = self._known[key]
        if isinstance(found, Exception):
            raise found
        return found

    def number_of(self, alias: str) -> int:
        """Return how many of the rows write under an alias."""
        return sum(each == alias for each in self._known.values())

    def of(self, keys: Sequence[Key]) -> dict[Key, str | Exception]:
        """Return the alias for each of some primary keys, or why it could not be asked for.

        That is `RowNotLoaded`, `TypeError`, or what `key=` raises.
        """
        if not callable(self._key):
            return dict.fromkeys(keys, DEFAULT_ALIAS if self._key is None else self._key)
        # In the schema, since what the callable asks is there, too. All are asked at once, so
        # that no other query goes there.
        with self._column.found_by_name():
            rows = self._rows.of(keys)
            return {key: _asked(self._key, rows.get(key)) for key in keys}


class RowsJob(Job):
    """Encrypts values under the keys that their rows ask for, and binds them to these."""

    def __init__(self, column: Column) -> None:
        field = column.encrypted_field
        self._rows, self._aliases = BoundRows(column), RowAliases(column)
        self.locks_rows = bool(self._rows)
        goes_with = rolled_back_with(field.model, column.database)
        self._transfer = Transfer(goes_with, field.field_path, managed_by(field.key))

    def unmoved(self, changes: Sequence[Change]) -> Sequence[Change]:
        return self._rows.unmoved(changes)

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)


def _asked(chooses: Callable[[Model], object], row: Model | None) -> str | Exception:
    if row is None:
        return RowNotLoaded()
    try:
        chosen = chooses(row)
    except Exception as error:  # a key= of the project may raise anything
        return error
    if isinstance(chosen, str):
        return chosen
    return TypeError(f"key= returned {type(chosen).__name__} instead of an alias")
