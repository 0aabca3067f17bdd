"""The lookups of an index, by their names: equality, one of several values, and refused ones."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Value
from django.db.models.expressions import Col, Ref
from django.db.models.lookups import Exact, IsNull, Lookup
from django.db.models.sql import Query
from django.db.models.sql.where import AND

from envelope_fields.fields.index.lookups import IndexLookup
from envelope_fields.fields.prepared import Unencrypted


class IndexExact(IndexLookup):
    """Whether a value has the normal form that is looked for."""

    lookup_name = "exact"

    def _compared_with(self, made: Sequence[Any]) -> tuple[str, str, Sequence[Any]]:
        ((sql, params),) = made
        return "=", sql, params

    def _compared(self, compiler: Any) -> tuple[str, str, Sequence[Any]]:
        if isinstance(self.rhs, Col | Ref):
            return "=", *compiler.compile(self.rhs)
        return "=", *self._subquery(compiler)

    def _selecting_index(self, query: Query) -> Query:
        if not query.has_limit_one():
            raise ValueError(
                "The QuerySet value for an exact lookup must be limited to one result using "
                "slicing."
            )
        return super()._selecting_index(query)


class IndexIn(IndexLookup):
    """Whether a value has one of the normal forms that are looked for."""

    lookup_name = "in"

    def _looked_for(self, prepared: Unencrypted) -> Any:
        if hasattr(prepared.value, "resolve_expression"):
            return prepared.value
        items = (Unencrypted(value, None) for value in prepared.value)
        return tuple({self._item(each): None for each in items if each.value is not None})

    def _item(self, prepared: Unencrypted) -> Any:
        if type(prepared.value) is Value:
            prepared = Unencrypted(prepared.value.value, None)
        if hasattr(prepared.value, "resolve_expression"):
            name = self.index.sources[0].field.name
            raise FieldError(
                f"{self.index}: what is looked for is a list of values, or a subquery, and not "
                f"{type(prepared.value).__name__}() among them. Write Q({name}=…) | "
                f"Q({name}__in=…)."
            )
        return super()._looked_for(prepared)

    def _compared(self, compiler: Any) -> tuple[str, str, Sequence[Any]]:
        return "IN", *self._subquery(compiler)

    def _compared_with(self, made: Sequence[Any]) -> tuple[str, str, Sequence[Any]]:
        placeholders = ", ".join(sql for sql, _ in made)
        return "IN", f"({placeholders})", [each for _, params in made for each in params]

    def _selecting_index(self, query: Query) -> Query:
        query.clear_ordering(clear_default=True)
        found = super()._selecting_index(query)
        if not found.is_sliced:
            # `x NOT IN (NULL)` is true of no row.
            found.where.add(IsNull(found.select[0], False), AND)
        return found


class _RefusedLookup(Lookup):
    index: Any

    def __new__(cls, lhs: Any, rhs: Any) -> Any:
        if rhs is None and cls.lookup_name in ("exact", "iexact"):
            return Exact(lhs, None)  # Django makes `isnull` of it
        del rhs  # error reports show variables
        names = ", ".join(cls.index.fields)
        what = f"a tuple: {cls.index.name}=({names})" if cls.index.is_compound else f"{names}=…"
        raise FieldError(
            f"{cls.index} is a blind index, and `{cls.lookup_name}` is not asked of it: look for "
            f"{what}, or with isnull."
        )


def no_lookup(index: Any, name: str) -> Any:
    """Return the lookup that says what is looked for instead."""
    return type(_RefusedLookup.__name__, (_RefusedLookup,), {"index": index, "lookup_name": name})


_KINDS = {"exact": IndexExact, "iexact": IndexExact, "in": IndexIn}


def lookups_of(index: Any) -> dict[str, Any]:
    """Return the lookups of an index, by their names. To make classes takes long: it keeps them."""
    kinds = {
        name: kind for name, kind in _KINDS.items() if name != "iexact" or index.normal.folds_case
    }
    return {
        name: type(kind.__name__, (kind,), {"index": index, "folds_case": name == "iexact"})
        for name, kind in kinds.items()
    }
