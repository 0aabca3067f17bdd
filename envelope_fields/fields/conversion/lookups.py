"""Lookups on a field under conversion: through the column in clear, or as without a conversion.

Which it is, is seen when SQL is made. What asks the column in clear and has no blind index is
noted, with the line of code that asks.
"""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Value
from django.db.models.expressions import Col, Ref
from django.db.models.sql.where import OR, WhereNode

from envelope_fields.fields.conversion import call_sites
from envelope_fields.fields.conversion.columns import ClearCol
from envelope_fields.fields.errors import refuse
from envelope_fields.fields.lookups import IndexedPart
from envelope_fields.fields.prepared import Scoped, Unencrypted

Path = tuple[str, ...]  # into JSON


def lookup_by_phase(field: Any, name: str, encrypted: Any, path: Path = ()) -> Any:
    """Return the lookup of a name on a field, or None where Django shall try a transform.

    Args:
        encrypted: the lookup that it has without a conversion: one by an index, or one that
            refuses; or None.
        path: where the part of its values is that is looked up.
    """
    if field.converted is None or field.reads_beside:
        return encrypted
    if getattr(encrypted, "is_of_index", False):
        body = {"field": field, "path": path, "name_in_clear": name}
        return type(encrypted.__name__, (_ByIndexOrInClear, encrypted), body)
    plain = _inside(field, path)
    found = plain.get_lookup(name)
    if found is None:
        return None if plain.get_transform(name) is not None else encrypted
    body = {"field": field, "path": path, "__qualname__": found.__qualname__}
    return type(found.__name__, (_InClear, found), body)


class _InClear:
    """A lookup of the plain field on the column in clear."""

    field: Any  # the encrypted one
    path: Path
    lookup_name: str

    def __init__(self, lhs: Any, rhs: Any) -> None:
        column = lhs.column if isinstance(lhs, IndexedPart) else lhs
        name = "__".join((*self.path, self.lookup_name))
        clear = _column(self.field, column, name, call_sites.call_site())
        super().__init__(_along(clear, self.path), rhs)  # type: ignore[call-arg]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.field}>"  # without what is looked for

    def __reduce__(self) -> Any:
        state: Any = super().__getstate__()
        return _looked_up_again, (self.field, self.lookup_name, self.path), state


def _looked_up_again(field: Any, name: str, path: Path) -> Any:
    kind: Any = lookup_by_phase(field, name, None, path)
    return kind.__new__(kind)


class _ByIndexOrInClear:
    """A lookup by an index, which asks the column in clear as long as that is read."""

    field: Any
    path: Path
    name_in_clear: str  # of the lookup of the plain field
    index: Any
    lhs: Any
    sought: Unencrypted  # as it was given

    def __init__(self, lhs: Any, rhs: Any) -> None:
        self.sought = Unencrypted(rhs, None)
        del rhs  # error reports show variables
        if self._is_list:
            self.sought.value = tuple(self.sought.value)  # it may be gone through once
        super().__init__(lhs, self.sought.value)  # type: ignore[call-arg]

    @property
    def _is_list(self) -> bool:
        """Whether several values are looked for, where the index takes them."""
        is_expression = hasattr(self.sought.value, "resolve_expression")
        return self.name_in_clear == "in" and not is_expression

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        if self.field.phase(connection.alias).reads_new:
            return super().as_sql(compiler, connection)  # type: ignore[misc]
        items = self.sought.value if self._is_list else (self.sought.value,)
        if not any(isinstance(each, Scoped) for each in items):
            return compiler.compile(self._in_clear(self.name_in_clear, self.sought))
        return compiler.compile(self._within(items))

    def _in_clear(self, name: str, sought: Unencrypted) -> Any:
        if hasattr(sought.value, "resolve_expression") and type(sought.value) is not Value:
            raise FieldError(
                f"{self.field} is under conversion, and cannot be compared with something in the "
                "database meanwhile. Look for values."
            )
        if isinstance(self.lhs, Ref):
            raise FieldError(
                f"{self.field} is under conversion, and cannot be looked up beside a window, or in "
                "an aggregate of a slice or of an aggregate meanwhile. Look for its rows first: "
                "filter(pk__in=…)."
            )
        column = _column(self.field, Col(self.lhs.alias, self.lhs.target), "", None)
        plain = _along(column, self.path)
        return plain.get_lookup(name)(plain, sought.value)

    def _within(self, items: Iterable[Any]) -> WhereNode:
        """Return the condition that a row has one of several values, each in its scope."""
        found = WhereNode(connector=OR)
        for each in items:
            sought = Unencrypted(each.value, None)
            conditions: Any = WhereNode([self._in_clear("exact", sought)])
            for attname, value in self.index.scope_given(Unencrypted(each, None)).items():
                scope: Any = self.field.model._meta.get_field(attname)
                column: Any = Col(self.lhs.alias, scope)
                conditions.children.append(column.get_lookup("exact")(column, value))
            found.children.append(conditions)
        return found


def transform_by_phase(field: Any, name: str, encrypted: Any) -> Any:
    """Return what makes the transform of a name on a field; see `lookup_by_phase`."""
    if field.converted is None or field.reads_beside:
        return encrypted
    if isinstance(encrypted, type) and issubclass(encrypted, IndexedPart):
        return type(encrypted.__name__, (_PartByPhase, encrypted), {})
    return _transform(field, name, (), encrypted)


def _transform(field: Any, name: str, path: Path, encrypted: Any) -> Any:
    """Return what makes the transform of a part in clear; `encrypted` where there is none."""
    plain = _inside(field, path)
    if plain.get_transform(name) is None:
        return encrypted

    def made(lhs: Any, *args: Any, **kwargs: Any) -> Any:
        column = lhs.column if isinstance(lhs, IndexedPart) else lhs
        what = "__".join((*path, name))
        inner = _along(_column(field, column, what, call_sites.call_site()), path)
        return inner.get_transform(name)(inner, *args, **kwargs)

    return made


class _PartByPhase(IndexedPart):
    """A part of JSON that has an index, or of which a part has: each lookup sees to the phase."""

    def get_lookup(self, lookup_name: str) -> Any:
        field, path = self.encrypted_field, self.path
        found = field.indexed_lookup(path, lookup_name)
        return lookup_by_phase(field, lookup_name, found, path)

    def get_transform(self, lookup_name: str) -> Any:
        field, path = self.encrypted_field, (*self.path, lookup_name)
        found = field.indexed_part(path)
        if found is not None:
            return type(found.__name__, (_PartByPhase, found), {})
        return _transform(field, lookup_name, self.path, None)


def _column(field: Any, lhs: Any, what: str, call_site: call_sites.CallSite | None) -> ClearCol:
    """Return the column in clear in the place of the encrypted one; `what` is noted."""
    if not isinstance(lhs, Col):
        raise refuse(field, f"`{what}` cannot be looked up in what {type(lhs).__name__}() gives")
    column = ClearCol(lhs.alias, field.converted)
    column.what, column.call_site = what, call_site
    return column


def _inside(field: Any, path: Path) -> Any:
    return _along(ClearCol(field.model._meta.db_table, field.converted), path)


def _along(column: Any, path: Path) -> Any:
    """Return the part of a column at a path."""
    for name in path:
        column = column.get_transform(name)(column)
    return column
