"""What keeps a plain field from becoming an encrypted one: all of it is named, at once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import GeneratedField, JSONField

from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.any import FAMILY
from envelope_fields.fields.conversion.checks import names_in, names_of


def plain_field(label: str) -> Any:
    """Return the plain field of a name, if it can become an encrypted one.

    Args:
        label: `app_label.Model.field`.

    Raises:
        ConversionRefused: there is none; or something of the project keeps it plain, all of which
            is named.
    """
    field = _found(label)
    found = [obstacle for rule in _RULES for obstacle in rule(field)]
    if found:
        listed = "".join(f"\n- {each}" for each in found)
        raise ConversionRefused(f"{field} cannot become encrypted as it is:{listed}")
    return field


def encrypted_class(field: Any) -> Any:
    """Return the class that stores the values of a field encrypted; None where there is none."""
    if hasattr(field, "base_field"):
        from envelope_fields.fields.arrays import EncryptedArrayField

        return EncryptedArrayField if type(field) in EncryptedArrayField.__mro__ else None
    return FAMILY.get(type(field))


def can_have_index(field: Any) -> bool:
    """Whether a blind index of the whole value can do what an index or `unique` does."""
    return not isinstance(field, JSONField) and not hasattr(field, "base_field")


def _found(label: str) -> Any:
    try:
        app_label, model_name, name = label.split(".")
        model = apps.get_model(app_label, model_name)
        return model._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        raise ConversionRefused(f"{label!r} names no field: write app_label.Model.field.") from None


def _kind(field: Any) -> Iterator[str]:
    if isinstance(field, EncryptedFieldMixin):
        yield "it is encrypted already."
    elif not field.concrete or encrypted_class(field) is None:
        yield (
            f"there is no encrypted class for a {type(field).__name__}. Declare both fields by "
            "hand, the second one with encrypted(), and write the migrations by hand, too."
        )


def _table(field: Any) -> Iterator[str]:
    model = field.model
    if model._meta.proxy or not model._meta.managed:
        yield f"migrations do not make the table of {model._meta.label}. Add the column yourself."


def _options(field: Any) -> Iterator[str]:
    if field.primary_key:
        yield "it is the primary key."
    if field.has_db_default():
        yield (
            "it has db_default, by which the database stores plain values. Write default= in its "
            "place, and migrate, first."
        )
    for option in ("unique_for_date", "unique_for_month", "unique_for_year"):
        if getattr(field, option):
            yield f"{option} compares its values in the database. Remove it first."
    if (field.unique or field.db_index) and not can_have_index(field):
        option = "unique" if field.unique else "db_index"
        yield f"{option}: there is no blind index of a {type(field).__name__}. Remove it first."


def _constraints(field: Any) -> Iterator[str]:
    options, name = field.model._meta, field.name
    for together in options.unique_together:
        if name in together:
            yield f"unique_together names it, in {together}. {_INDEX_FIRST}"
    for constraint in options.constraints:
        if name in names_in(constraint):
            yield f"the constraint {constraint.name!r} names it. {_INDEX_FIRST}"
    for index in options.indexes:
        if name in names_in(index):
            yield f"the index {index.name!r} names it. Remove it first, by a migration."


def _computed(field: Any) -> Iterator[str]:
    options, name = field.model._meta, field.name
    for option in ("ordering", "get_latest_by"):
        if name in _sorted_by(getattr(options, option) or ()):
            yield f"Meta.{option} sorts by it, and the order of envelopes means nothing. Remove it."
    for other in options.local_fields:
        if isinstance(other, GeneratedField) and name in names_in(other):
            yield f"the generated field {other.name} is computed from it. Remove that first."


def _references(field: Any) -> Iterator[str]:
    for relation in field.model._meta.related_objects:
        if field in getattr(relation.field, "foreign_related_fields", ()):
            yield f"{relation.field} refers to it. Let it refer to the primary key first."


_INDEX_FIRST = (
    "Remove it first, by a migration; a BlindIndexField does the same for an encrypted field."
)

_RULES: tuple[Callable[[Any], Iterable[str]], ...] = (
    _kind,
    _table,
    _options,
    _constraints,
    _computed,
    _references,
)


def _sorted_by(ordering: Any) -> Iterator[str]:
    for each in [ordering] if isinstance(ordering, str) else ordering:
        is_name = isinstance(each, str)
        yield from [each.lstrip("-").partition("__")[0]] if is_name else names_of(each)
