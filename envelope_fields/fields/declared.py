"""What is set up in a model whose fields are encrypted, when these are declared.

What a field does not ask for is not set up: a project without bound values has none of their
statements looked at.
"""

from collections.abc import Callable
from typing import Any

from django.db.models.signals import class_prepared
from django.db.models.sql import Query

from envelope_fields.fields import bound_statements, storing
from envelope_fields.fields.binding import note_rows
from envelope_fields.fields.conversion.clear import convert
from envelope_fields.fields.masks import show_as_text
from envelope_fields.fields.patches import extend
from envelope_fields.fields.sealed import encrypted_fields
from envelope_fields.fields.written import makes_values, noting


def added(model: Any, field: Any) -> None:
    """Set up what a model needs that a field is added to."""
    storing.prepare_saves_of(model)
    if makes_values(field):
        vars(field)["pre_save"] = noting(field)
    if field.is_bound:
        bound_statements.watch(field)
        load_bound_columns()
    meta = model._meta
    if meta.apps.all_models[meta.app_label].get(meta.model_name) is model:
        _prepare(model, [field])  # it comes after class_prepared, by add_to_class()


def _prepared(*, sender: Any, **_: Any) -> None:
    """Look at a model that is declared."""
    _prepare(sender, encrypted_fields(sender))


def _prepare(model: Any, fields: list[Any]) -> None:
    """Note the rows of a model where some fields are loaded, and whether it has drafts."""
    for field in fields:
        field.open_attribute()
    note_rows(model, fields)
    if fields:
        show_as_text(model)
    for field in fields:
        if field.plain_field is not None:
            convert(field)
        if field.is_bound:
            bound_statements.watch_columns_of(field)
        field.has_drafts = field.has_drafts or storing.has_drafts(model)


# -- Queries that load a part of the columns -------------------------------------------------------

# `only()` names a value, and means the columns that it is bound to as well; where `defer()` names
# one of them, the value is deferred with it.


def load_bound_columns() -> None:
    """Have queries load bound columns with values, and neither without the other.

    What `only()` and `defer()` name becomes columns in these two places, where no field is asked.
    A query that names none comes by neither.
    """
    extend(Query, "_get_only_select_mask", _completed)
    extend(Query, "_get_defer_select_mask", _deferred)


Mask = dict[Any, Any]  # the fields that are loaded, and what is of each related model


def _completed(original: Callable[..., Mask]) -> Any:
    """Add the columns that values are bound to."""

    def only_select_mask(self: Any, *args: Any, **kwargs: Any) -> Mask:
        mask = original(self, *args, **kwargs)  # which comes here for each related model, too
        for field in list(mask):
            bound = getattr(field, "bound_fields", ())
            for column in (*bound, *(field.model._meta.pk_fields if bound else ())):
                mask.setdefault(column, {})
        return mask

    return only_select_mask


def _deferred(original: Callable[..., Mask]) -> Any:
    """Leave out the values that are bound to columns which are left out."""

    def defer_select_mask(self: Any, *args: Any, **kwargs: Any) -> Mask:
        mask = original(self, *args, **kwargs)
        for field in list(mask):
            if any(column not in mask for column in getattr(field, "bound_fields", ())):
                del mask[field]
        return mask

    return defer_select_mask


# Models are declared before any application is ready.
class_prepared.connect(_prepared, dispatch_uid="envelope_fields.fields.prepared")
