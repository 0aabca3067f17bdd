"""What may be looked up in an encrypted field: whether it is NULL, and what its indexes have.

The rest is refused when it is used, not when it is looked up: system checks, the admin and packages
that make filters ask a field for lookups; what they get can be held, asked for its name, and not
called.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.db.models import Field, JSONField, Transform
from django.db.models.expressions import Ref
from django.db.models.functions import Extract
from django.db.models.functions.datetime import TruncBase
from django.db.models.lookups import Exact, IsNull, Lookup

from envelope_fields.fields.columns import encrypted_inside
from envelope_fields.fields.errors import refuse
from envelope_fields.fields.patches import extend
from envelope_fields.fields.types import FieldBase


class LookupsMixin(FieldBase):
    """What queries may ask of an encrypted field: whether it is NULL, and what its indexes have.

    Attributes:
        indexes: the blind indexes of its values, which set this.
    """

    indexes: tuple[Any, ...] = ()
    converts: str | None
    lookup_by_phase: Any
    transform_by_phase: Any

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return EncryptedIsNull
        found, of_part = self.indexed_lookup((), lookup_name), None
        if found is None:
            of_part = self.indexed_lookup((lookup_name,), "exact")
        if self.converts is not None and of_part is not None:
            return self.lookup_by_phase("exact", of_part, (lookup_name,))
        found = found or of_part or _refused(_RefusedLookup, self, lookup_name)
        return found if self.converts is None else self.lookup_by_phase(lookup_name, found)

    def get_transform(self, lookup_name: str) -> Any:
        found = self.indexed_part((lookup_name,))
        found = found or _refused(_RefusedTransform, self, lookup_name)
        return found if self.converts is None else self.transform_by_phase(lookup_name, found)

    def indexed_lookup(self, path: tuple[str, ...], lookup_name: str) -> Any:
        """Return the lookup of a name in an index of the values, or of a part; None without one."""
        indexes, known = vars(self).get("_known_lookups", (None, {}))
        if indexes is not self.indexes:  # others were declared since
            known = {}
            vars(self)["_known_lookups"] = self.indexes, known
        found = known.get((path, lookup_name))
        if found is None:  # and what there is none of is not kept, since its names come from afar
            each = (index.lookup_of(path, lookup_name) for index in self.indexes)
            found = next((lookup for lookup in each if lookup is not None), None)
            if found is not None:
                known[path, lookup_name] = found
        return found

    def indexed_part(self, path: tuple[str, ...]) -> Any:
        """Return the transform for a part of the values; None where no index is of such a one."""
        is_indexed = any(index.part_path[: len(path)] == path for index in self.indexes)
        kind = {"encrypted_field": self, "path": path}
        return type(IndexedPart.__name__, (IndexedPart,), kind) if is_indexed else None

    def slice_expression(self, expression: Any, start: int, length: int | None) -> NoReturn:
        raise refuse(self, "the database cannot cut its values")


class EncryptedIsNull(IsNull):
    """Whether a value is NULL, also of a column that a query inside this one selects.

    There, as beside a window, Django would ask for the type of what it takes for a result.
    """

    def process_lhs(self, compiler: Any, connection: Any, lhs: Any = None) -> Any:
        if isinstance(self.lhs, Ref):
            return compiler.compile(self.lhs)
        return super().process_lhs(compiler, connection, lhs)


class _RefusedLookup(Lookup):
    encrypted_field: Field[Any, Any]

    def __new__(cls, lhs: Any, rhs: Any) -> Any:
        field, name = cls.encrypted_field, cls.lookup_name
        if rhs is None and name in ("exact", "iexact") and not isinstance(field, JSONField):
            return Exact(lhs, None)  # Django makes `isnull` of it
        del rhs  # the search term, which an error report would show
        raise refuse(field, f"the lookup `{name}` would compare envelopes, and find nothing")


class _RefusedTransform(Transform):
    """Raises when something is asked of it: were it when it is made, Django would say its own."""

    encrypted_field: Field[Any, Any]

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        name = self.lookup_name
        raise refuse(self.encrypted_field, f"`{name}` cannot be looked up inside its values")

    as_sql = get_lookup = get_transform = resolve_expression = _refuse


class IndexedPart(Transform):
    """A part of encrypted values that has an index: it can be looked up, and nothing else.

    Attributes:
        path: where the part is; subclasses are made for one each.
    """

    encrypted_field: Any
    path: tuple[str, ...]

    @property
    def column(self) -> Any:
        """The column that it is a part of."""
        (inner,) = self.get_source_expressions()
        return inner.column if isinstance(inner, IndexedPart) else inner

    def get_lookup(self, lookup_name: str) -> Any:
        for path, name in ((self.path, lookup_name), ((*self.path, lookup_name), "exact")):
            found = self.encrypted_field.indexed_lookup(path, name)
            if found is not None:
                return found
        return _refused(_RefusedLookup, self.encrypted_field, lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        found = self.encrypted_field.indexed_part((*self.path, lookup_name))
        return found or _refused(_RefusedTransform, self.encrypted_field, lookup_name)

    def as_sql(self, *_: Any, **__: Any) -> NoReturn:
        raise refuse(self.encrypted_field, "a part of its values cannot be selected")


def _refused(kind: type, field: Field[Any, Any], name: str) -> Any:
    return type(kind.__name__, (kind,), {"lookup_name": name, "encrypted_field": field})


# -- Functions of dates ----------------------------------------------------------------------------


def register() -> None:
    """Have the functions of dates refuse encrypted columns, as every other does.

    `Trunc`, `Extract`, and `dates()` and `datetimes()` that are made of them, look at the type of a
    column before SQL is made of it, and would say that it holds no dates.
    """
    for function in (Extract, TruncBase):
        extend(function, "resolve_expression", _refusing_encrypted)


def _refusing_encrypted(resolve: Any) -> Any:
    def resolve_expression(self: Any, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return resolve(self, query, *args, **kwargs)
        except (TypeError, ValueError):
            field = encrypted_inside(self, query)
            if field is None:
                raise
        raise refuse(field, "the database cannot compute on its values")

    return resolve_expression
