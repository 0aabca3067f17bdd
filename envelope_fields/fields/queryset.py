"""A queryset that tells encrypted fields which row a value is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

from django.db.models import Field, Model, QuerySet

from envelope_fields.fields.carriers import Kept, StoredEnvelope, Unencrypted
from envelope_fields.fields.guard import is_json_null
from envelope_fields.fields.masks import Mask, StoredValue

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
        # No name here holds a value itself: an error report would show it.
        carriers = [
            (field, Unencrypted(getattr(row, field.attname), row))
            for row in rows
            for field in encrypted
        ]
        try:
            for field, carrier in carriers:
                if type(carrier.value) is Mask:
                    row = cast("Model", carrier.instance)
                    left = carrier.value.stored_in(field, row, add=False)
                    setattr(row, field.attname, StoredValue(field) if type(left) is Kept else left)
                elif _is_for_encryption(field, carrier):
                    setattr(carrier.instance, field.attname, carrier)
            return super().bulk_update(rows, names, batch_size)
        finally:
            for field, carrier in carriers:
                setattr(carrier.instance, field.attname, carrier.value)


def _is_for_encryption(field: Field[Any, Any], carrier: Unencrypted) -> bool:
    if carrier.value is None or type(carrier.value) is StoredEnvelope:
        return False
    return is_json_null(field, carrier.value) or not hasattr(carrier.value, "resolve_expression")
