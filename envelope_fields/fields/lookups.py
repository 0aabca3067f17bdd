"""Lookups and transforms by name: refused when they are used, not when they are looked up.

System checks and the admin ask a field for lookups; what they get can be held, not called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import Field, JSONField
from django.db.models.lookups import Exact, Lookup

from envelope_fields.fields.errors import refuse


def refused_lookup(field: Field[Any, Any], name: str) -> Callable[[Any, Any], Lookup[Any]]:
    """Return what `get_lookup` gives for a lookup that the field does not have."""
    return partial(_refuse_lookup, field, name)


def refused_transform(field: Field[Any, Any], name: str) -> Callable[..., Any]:
    """Return what `get_transform` gives for every name."""
    return partial(_refuse_transform, field, name)


def _refuse_lookup(field: Field[Any, Any], name: str, lhs: Any, rhs: Any) -> Lookup[Any]:
    if rhs is None and name in ("exact", "iexact") and not isinstance(field, JSONField):
        return Exact(lhs, None)  # Django makes `isnull` of it
    del rhs  # the search term, which an error report would show
    raise refuse(field, f"the lookup `{name}` would compare envelopes, and find nothing")


def _refuse_transform(field: Field[Any, Any], name: str, *args: Any) -> Any:
    raise refuse(field, f"`{name}` cannot be looked up inside its values")
