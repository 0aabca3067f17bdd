"""Several models of one table: how far its column is, is known by the name of one of them.

Under a name of its own, each would be in a phase of its own, and one would read the column that
another does not write any more.
"""

from collections.abc import Iterable
from functools import partial
from operator import attrgetter
from typing import Any

from django.db.models import Model

from envelope_fields.databases import may_live_in

# Sorts models: the one that owns a table comes before those that mirror it.
by_owners = partial(sorted, key=attrgetter("_meta.managed"), reverse=True)


def owner(field: Any, using: str) -> Any:
    """Return the field by whose name the conversion of a column is found; mostly it itself.

    Args:
        field: an encrypted field.
        using: the alias of the database: two tables in different ones may have the same name.
    """
    known = vars(field).setdefault("_owners", {})
    if using not in known:
        known[using] = _found(field, using)
    return known[using]


def _found(field: Any, using: str) -> Any:
    meta = field.model._meta
    models = meta.apps.get_models(include_auto_created=True, include_swapped=True)
    for model in by_owners(models):
        if model is field.model:
            break
        if model._meta.db_table == meta.db_table and may_live_in(using, model):
            found = next(filter(None, (_twin(field, each) for each in _columns(model))), None)
            if found is not None:
                return found
    return field


def _columns(model: type[Model]) -> Iterable[Any]:
    return () if model._meta.proxy else model._meta.local_concrete_fields


def _twin(field: Any, other: Any) -> Any:
    is_one = hasattr(other, "to_plaintext") and other.column == field.column
    return other if is_one else None
