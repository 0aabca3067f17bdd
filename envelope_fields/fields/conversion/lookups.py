"""Lookups on a field under conversion: through the column in clear, or as without a conversion.

Which it is, is seen when SQL is made. What asks the column in clear and has no blind index is
noted, with the line of code that asks.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Transform
from django.db.models.expressions import Col

from envelope_fields.fields.conversion import places
from envelope_fields.fields.conversion.columns import ClearCol
from envelope_fields.fields.errors import refuse


def lookup_by_phase(field: Any, name: str, encrypted: Any) -> Any:
    """Return the lookup of a name on a field, or None where Django shall try a transform.

    Args:
        field: the encrypted field.
        name: of the lookup.
        encrypted: the lookup that it has without a conversion, which may refuse.
    """
    plain = field.converted
    if plain is None:
        return encrypted
    found = plain.get_lookup(name)
    if found is None:
        return None if plain.get_transform(name) is not None else encrypted
    body = {"field": field, "encrypted": encrypted, "__qualname__": found.__qualname__}
    return type(found.__name__, (_ByPhase, found), body)


class _ByPhase:
    """A lookup of the plain field on the column in clear."""

    field: Any
    encrypted: Any
    lookup_name: str

    def __init__(self, lhs: Any, rhs: Any) -> None:
        column = _clear(self.field, lhs, self.lookup_name)
        super().__init__(column, rhs)  # type: ignore[call-arg]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.field}>"  # without what is looked for


def transform_by_phase(field: Any, name: str, encrypted: Any) -> Any:
    """Return what makes the transform of a name on a field; see `lookup_by_phase`."""
    plain = field.converted
    transform = None if plain is None else plain.get_transform(name)
    if transform is None:
        return encrypted

    def made(lhs: Any, *args: Any, **kwargs: Any) -> Transform:
        return transform(_clear(field, lhs, name), *args, **kwargs)  # type: ignore[no-any-return]

    return made


def _clear(field: Any, lhs: Any, what: str) -> ClearCol:
    """Return the column in clear in the place of the encrypted one."""

    def refusal() -> FieldError:
        return refuse(field, f"`{what}` would compare envelopes, and find nothing")

    if not isinstance(lhs, Col):
        raise refusal()
    return ClearCol(
        lhs.alias, field.converted, refusal=refusal, what=f"`{what}`", place=places.place()
    )
