"""A queryset that tells encrypted fields which row a value is for, and opens on load."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Self, TypeVar

from django.core.exceptions import FieldError
from django.db import router
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from envelope_fields.fields.columns import OPENED
from envelope_fields.fields.masks import Mask, masked_in
from envelope_fields.fields.prepared import StoredCol, Unencrypted
from envelope_fields.fields.sealed import BroughtValue, encrypted_fields, sealed_in
from envelope_fields.fields.storing import as_prepared, prepared_in

_Row = TypeVar("_Row", bound=Model)
_OPENED_IN_ROW = "envelope_fields_opened_in_row"  # in a query: the attributes that it opens
_MADE_BY = "envelope_fields_made_by"  # in a query: what makes the objects whose values it opens


class EncryptedQuerySet(QuerySet[_Row]):
    """Makes `bulk_update` work for fields that take their key from the row.

    Use it as a manager: `objects = EncryptedQuerySet.as_manager()`.
    """

    def opened(self, *fields: str) -> Self:
        """Return objects whose encrypted values are opened when they are loaded, and raise there.

        Args:
            *fields: the names of encrypted fields; without them, all of the model.

        Raises:
            FieldDoesNotExist: the model has no such field.
            FieldError: it is not an encrypted one.
        """
        chosen = self.all()
        names = fields or [field.name for field in encrypted_fields(self.model)]
        opened = [_encrypted(self.model, name) for name in names]
        by_column = frozenset(field.field_path for field in opened if not field.is_bound)
        names = [field.attname for field in opened]
        vars(chosen.query).update({OPENED: by_column, _OPENED_IN_ROW: names})
        kind = chosen._iterable_class
        if issubclass(kind, ModelIterable) and not issubclass(kind, OpenedIterable):
            vars(chosen.query)[_MADE_BY] = kind
            chosen._iterable_class = OpenedIterable
        return chosen

    def bulk_update(
        self, objs: Iterable[_Row], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        rows, names = tuple(objs), list(fields)
        written: list[Any] = list(map(self.model._meta.get_field, names))
        encrypted = [field for field in written if hasattr(field, "to_plaintext")]
        held = [(field, row) for row in rows for field in encrypted]
        for field, row in held:
            if field.attname not in vars(row):
                getattr(row, field.attname)  # it was deferred
        self._for_write = True
        with prepared_in(held, partial(_prepared, self.db)):
            return super().bulk_update(rows, names, batch_size)


class OpenedIterable(ModelIterable):  # type: ignore[type-arg]
    """Objects whose values are opened: most are already, unless they are bound to their rows.

    The objects are those of the project's class of iterables, where the queryset has one.
    """

    queryset: Any
    chunked_fetch: bool
    chunk_size: int

    def __iter__(self) -> Iterator[Any]:
        chosen = vars(self.queryset.query)
        names, kind = chosen.get(_OPENED_IN_ROW, ()), chosen.get(_MADE_BY, ModelIterable)
        for instance in kind(self.queryset, self.chunked_fetch, self.chunk_size):
            for name in names:
                if name in instance.__dict__:  # or it is deferred
                    getattr(instance, name)
            yield instance


def _prepared(using: str, field: Any, row: Any) -> Any:
    """Return what is written for a value in a database, with the row that it belongs to."""
    sealed = sealed_in(row, field)
    if isinstance(sealed, BroughtValue):
        return sealed.prepared(field, row, add=False)
    prepared = Unencrypted(getattr(row, field.attname), row)
    if not isinstance(prepared.value, Mask):
        return as_prepared(field, prepared)
    is_there = using == router.db_for_write(type(row), instance=row)
    stays = is_there and prepared.value.sealed.prepared(field, row, add=False) is not None
    # What is bound to a column that is written with it may have been written with another since.
    if not stays or not all(each.primary_key for each in field.bound_fields):
        raise masked_in(field, prepared.value, row)
    return StoredCol(field)


def _encrypted(model: Any, name: str) -> Any:
    field = model._meta.get_field(name)
    if not hasattr(field, "to_plaintext"):
        raise FieldError(f"{field} is not an encrypted field, so it is not opened().")
    return field


def open_values(objects: Iterable[Model], *fields: str) -> None:
    """Open encrypted values of objects now, instead of when a caller looks at them.

    Args:
        objects: objects that were loaded.
        *fields: the names of encrypted fields; without them, all that were not deferred.

    Raises:
        EnvelopeError: one does not open, or not for this principal.
    """
    for instance in objects:
        held = instance.__dict__
        present = [each.attname for each in encrypted_fields(instance) if each.attname in held]
        for name in fields or present:
            getattr(instance, name)
