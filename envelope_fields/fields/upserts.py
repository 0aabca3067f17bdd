"""Upserts into a field that takes its key from the row.

A value is encrypted for the object that is given, and may come into a row that is there already.
So the key must follow from columns that are the same in both: the row was found by them, or gets
them with the value. Otherwise the value would be under the key of another owner, and be lost with
that one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Field, Model
from django.db.models.base import ModelState
from django.db.models.constants import OnConflict


def refuse_other_keys(field: Any, compiler: Any) -> None:
    """Look at the statement that a value of a field is for, once.

    Raises:
        FieldError: it is an upsert in which the key follows from columns that stay as they are.
    """
    query = compiler.query
    checked = vars(compiler).setdefault("envelope_fields_checked", set())
    if getattr(query, "on_conflict", None) is not OnConflict.UPDATE or field in checked:
        return
    checked.add(field)
    if field not in query.update_fields:
        return
    staying = _staying(query)
    for instance in query.objs:
        if getattr(instance, field.attname) is not None and not _same_key(field, instance, staying):
            raise FieldError(
                f"{field} takes its key from the row, and this upsert may change a row with "
                f"another key than the object has. Name the columns that key= looks at in "
                f"{_where(compiler.connection)}."
            )


def _staying(query: Any) -> list[Field[Any, Any]]:
    """Return the fields in which a row that is there may differ from the object, also after it."""
    same = {*query.update_fields, *query.unique_fields}
    return [field for field in query.get_meta().concrete_fields if field not in same]


def _same_key(field: Any, instance: Model, staying: Collection[Field[Any, Any]]) -> bool:
    try:
        return bool(field.key(_without(instance, staying)) == field.key(instance))
    except Exception:  # it asked for what is not there
        return False


def _without(instance: Model, fields: Collection[Field[Any, Any]]) -> Model:
    """Return a copy of an object that lacks these fields, and does not load them."""
    lacking = {name for field in fields for name in (field.name, field.attname)}
    state: Any = ModelState()
    state.db, state.fields_cache = instance._state.db, _but(lacking, instance._state.fields_cache)
    # Without a primary key, Django would look for it without end.
    keys = {field.attname: None for field in instance._meta.pk_fields if field in fields}
    row = type(instance).__new__(type(instance))
    vars(row).update(_but(lacking, vars(instance)), **keys, _state=state, refresh_from_db=_refuse)
    return row


def _but(names: Collection[str], attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in names}


def _refuse(**_: Any) -> None:
    raise AttributeError("not to be loaded")


def _where(connection: Any) -> str:
    if connection.features.supports_update_conflicts_with_target:
        return "unique_fields or update_fields"
    return "update_fields"
