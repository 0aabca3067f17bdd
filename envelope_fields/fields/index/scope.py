"""Scopes: the columns that equality of an index is confined to, such as the tenant of a row.

The values that have such an index are bound to these columns. So what writes the one without the
other is refused, or looks at the row.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import Model
from django.db.models.base import ModelState

from envelope_fields.fields.bound_columns import BoundColumn, bound_columns
from envelope_fields.fields.index.terms import Term
from envelope_fields.fields.keys import alias_for
from envelope_fields.fields.prepared import Scoped, Unencrypted
from envelope_fields.fields.types import FieldBase

Values = Mapping[str, Any]  # of the columns of a scope, by their attributes


class ScopeMixin(FieldBase):
    """Confines the values of an index to a scope, and chooses its search key by that."""

    key: Any
    scope: tuple[str, ...]
    sources: Any

    @property
    def is_scoped(self) -> bool:
        """Whether a value alone does not say what is looked for."""
        return bool(self.scope)

    @cached_property
    def scope_columns(self) -> tuple[BoundColumn, ...]:
        """Its columns; `ImproperlyConfigured` if equality cannot be confined to one of them."""
        columns = tuple(bound_columns(self.model, self.scope))
        for source in self.sources:
            loose = [each.field for each in columns if each.field not in source.field.bound_fields]
            if loose:
                names = ", ".join(each.name for each in loose)
                raise ImproperlyConfigured(
                    f"{self} has {names} in its scope, and {source.field} is not bound to it: a "
                    "row could get another one, and would not be found any more. Name it in "
                    "bind_to= of the field, too."
                )
        if callable(self.key) and not columns:
            raise ImproperlyConfigured(
                f"{self} takes its key from the row, and no scope= says by which columns. Name "
                "those that the key looks at."
            )
        return columns

    def confined(self, forms: Any, values: Values | None) -> Term:
        """Return a term within a scope.

        Args:
            values: of the columns of the scope; None where they are not known.

        Raises:
            FieldError: they are needed, and not known, or not values of the columns.
        """
        columns = self.scope_columns
        if not columns:
            return Term(forms, (), self.key)
        if values is None:
            raise FieldError(
                f"{self} takes its scope from the row, and Django gives none here. Use save() or "
                "bulk_create(); for bulk_update(), a manager made of "
                "envelope_fields.fields.EncryptedQuerySet."
            )
        scope = tuple((each.name, each.encoded(values[each.attname])) for each in columns)
        return Term(forms, scope, self.alias_in(values))

    def alias_in(self, values: Values) -> str:
        """Return the alias of the search key of a scope; of nothing else that a row has."""
        if not callable(self.key):
            return str(self.key)
        return alias_for(self, _bare(self.model, values))

    def scope_of(self, instance: Model | None) -> Values | None:
        """Return the scope of a row; None where there is none."""
        if instance is None:
            return None
        return {each.attname: getattr(instance, each.attname) for each in self.scope_columns}

    def scope_given(self, looked_for: Unencrypted) -> Values | None:
        """Return the scope that something is looked for in; `FieldError` if it gives none."""
        given = looked_for.value.scope if isinstance(looked_for.value, Scoped) else {}
        columns = {each.attname: each.field for each in self.scope_columns}
        values = {columns[name].attname if name in columns else name: given[name] for name in given}
        found = {}
        for attname, field in columns.items():
            value = values.pop(field.name, values.pop(attname, _MISSING))
            if value is not _MISSING:
                found[attname] = _referred_to(field, value) if isinstance(value, Model) else value
        if len(found) == len(columns) and not values:
            return found
        names = ", ".join(f"{field.name}=…" for field in columns.values())
        way_out = f"Scoped(value, {names})" if columns else "the value alone"
        raise FieldError(f"{self}: look for {way_out}.")


_MISSING: Any = object()


def _referred_to(field: Any, instance: Model) -> Any:
    """Return what a foreign key to an object has: not its primary key, with `to_field=`."""
    kind: Any = instance._meta.concrete_model
    if field.is_relation and issubclass(kind, field.related_model._meta.concrete_model):
        return getattr(instance, field.target_field.attname)
    raise FieldError(f"{field} does not refer to objects of {instance._meta.label}.")


def _bare(model: Any, values: Values) -> Model:
    """Return an object that has nothing but a scope, and loads nothing else."""
    row: Model = model.__new__(model)
    vars(row).update(values, _state=ModelState(), refresh_from_db=_refuse)
    return row


def _refuse(**_: Any) -> None:
    raise AttributeError("a key follows from the scope alone")
