"""A queryset that tells encrypted fields which row a value is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db.models import Field, Model, QuerySet

from envelope_fields.fields.carriers import Unencrypted

_Row = TypeVar("_Row", bound=Model)


class EncryptedQuerySet(QuerySet[_Row]):
    """Makes `bulk_update` work for fields that take their key from the row.

    Use it as a manager: `objects = EncryptedQuerySet.as_manager()`.
    """

    def bulk_update(
        self, objs: Iterable[_Row], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        rows, names = tuple(objs), list(fields)
        encrypted: list[Any] = [
            field
            for field in map(self.model._meta.get_field, names)
            if hasattr(field, "to_plaintext")
        ]
        values = [(row, field, getattr(row, field.attname)) for row in rows for field in encrypted]
        try:
            for row, field, value in values:
                _carry(row, field, value)
            return super().bulk_update(rows, names, batch_size)
        finally:
            for row, field, value in values:
                setattr(row, field.attname, value)


def _carry(row: Model, field: Field[Any, Any], value: Any) -> None:
    if value is not None and not hasattr(value, "resolve_expression"):
        setattr(row, field.attname, Unencrypted(value, row))
