"""Lookups and transforms by name: refused when they are used, not when they are looked up.

System checks, the admin and packages that make filters ask a field for lookups; what they get can
be held, asked for its name, and not called.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Field, JSONField, Transform
from django.db.models.lookups import Exact, Lookup

from envelope_fields.fields.errors import refuse


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
