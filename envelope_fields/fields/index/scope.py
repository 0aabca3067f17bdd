"""Scopes: what confines equality of an index, such as the tenant of a row."""

from __future__ import annotations

from typing import Any

from envelope_fields.fields.prepared import PreparedValue


class Scoped(PreparedValue):
    """A value that is looked for within a scope: `filter(email=Scoped(email, tenant=tenant))`.

    Args:
        value: what is looked for.
        **scope: the value of each field that the index names in `scope=`.
    """

    __slots__ = ("scope", "value")

    def __init__(self, value: Any, /, **scope: Any) -> None:
        self.value = value
        self.scope = scope

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scoped):
            return False
        return bool((self.value, self.scope) == (other.value, other.scope))

    def __hash__(self) -> int:
        return hash((self.value, frozenset(self.scope)))
