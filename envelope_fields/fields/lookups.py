"""What queries may ask of an encrypted field: its column, and whether it is NULL.

Other lookups and transforms are refused when they are used, not when they are looked up: system
checks, the admin and packages that make filters ask a field for lookups; what they get can be held,
asked for its name, and not called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.db.models import Field, JSONField, Transform
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, Lookup

from envelope_fields.fields.columns import EncryptedCol
from envelope_fields.fields.errors import refuse

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin


class LookupsMixin(_Field):
    """Refuses, before SQL is sent, whatever would compute on envelopes."""

    def get_col(self, alias: str, output_field: Any = None) -> Col:
        # Never one that is kept: each query says of its own whether it loads objects by it.
        return EncryptedCol(alias, self, output_field)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        return refused_lookup(self, lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        return refused_transform(self, lookup_name)

    def slice_expression(self, expression: Any, start: int, length: int | None) -> NoReturn:
        raise refuse(self, "the database cannot cut its values")


class _RefusedLookup(Lookup):
    encrypted_field: Field[Any, Any]

    def __new__(cls, lhs: Any, rhs: Any) -> Any:
        field, name = cls.encrypted_field, cls.lookup_name
        if rhs is None and name in ("exact", "iexact") and not isinstance(field, JSONField):
            return Exact(lhs, None)  # Django makes `isnull` of it
        del rhs  # the search term, which an error report would show
        raise refuse(field, f"the lookup `{name}` would compare envelopes, and find nothing")


class _RefusedTransform(Transform):
    encrypted_field: Field[Any, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise refuse(
            cls.encrypted_field, f"`{cls.lookup_name}` cannot be looked up inside its values"
        )


def refused_lookup(field: Field[Any, Any], name: str) -> Any:
    """Return the `Lookup` that `get_lookup` gives for one that the field does not have."""
    return _refused(_RefusedLookup, field, name)


def refused_transform(field: Field[Any, Any], name: str) -> Any:
    """Return the `Transform` that `get_transform` gives for every name."""
    return _refused(_RefusedTransform, field, name)


def _refused(kind: type, field: Field[Any, Any], name: str) -> Any:
    return type(kind.__name__, (kind,), {"lookup_name": name, "encrypted_field": field})
