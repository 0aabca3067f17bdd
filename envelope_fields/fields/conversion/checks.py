"""What keeps an encrypted field from taking the place of a column in clear."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from envelope_fields.fields.checks import Problem, errors
from envelope_fields.fields.plain import own_classes

_ALIKE: tuple[Any, ...] = (
    models.IntegerField,
    (models.CharField, models.TextField, models.FilePathField),
)
_STORED_BY_PACKAGES = (models.CharField, models.TextField, models.BinaryField, models.JSONField)


def check(field: Any) -> list[CheckMessage]:
    """Return what is wrong with the `converts=` of an encrypted field."""
    if field.converts is None:
        return []
    return (  # each builds on the one before
        errors(field, _sibling)
        or errors(field, _others, _types, _null, _database)
        or list(_index(field))
    )


def _sibling(field: Any) -> Iterator[Problem]:
    number, plain = "envelope_fields.E095", field.plain_field
    wrong = f"'converts' is {field.converts!r}, "
    if plain is not None:
        if plain.is_relation or plain.primary_key or plain.generated:
            wrong += "which is a key, a relation or a generated column."
            yield number, wrong, "Name a plain column of values, which nothing refers to."
        return
    named = _named(field)
    if hasattr(named, "to_plaintext"):
        hint = "To read another package's format in the same column, declare legacy= instead."
        yield number, f"{wrong}which is encrypted itself.", hint
        return
    hint = (
        'Declare what the field was under another name, such as TextField(null=True, db_column="'
        f'{field.name}"), and name that.'
    )
    yield number, f"{wrong}which names no column that this model declares itself.", hint


def _named(field: Any) -> Any:
    try:
        return field.model._meta.get_field(field.converts)
    except (FieldDoesNotExist, TypeError):
        return None


def _others(field: Any) -> Iterator[Problem]:
    others = [
        each
        for each in field.model._meta.local_fields
        if each is not field and getattr(each, "converts", None) == field.converts
    ]
    if others:
        wrong = f"{field.plain_field} is converted by {others[0]}, too."
        yield "envelope_fields.E095", wrong, "A column is converted by one field."


def _types(field: Any) -> Iterator[Problem]:
    plain = field.plain_field
    if field.reads_beside:
        if not isinstance(plain, _STORED_BY_PACKAGES):
            wrong = f"{plain} is a {type(plain).__name__}, and no package stores its format in one."
            hint = "Declare it as what the database has: a TextField, BinaryField or JSONField."
            yield "envelope_fields.E096", wrong, hint
    elif _kind(plain) != _kind(field) and not _is_of_plain_class(plain, field):
        wrong = f"{plain} is a {type(plain).__name__}, whose values are not those of {field}."
        hint = "Convert a column into the encrypted field of its own type, and change that later."
        yield "envelope_fields.E096", wrong, hint


def _kind(field: Any) -> Any:
    """Return what fields have in common whose values are of one type."""
    of_several = next((each for each in _ALIKE if isinstance(field, each)), None)
    return of_several or field.get_internal_type()


def _is_of_plain_class(plain: Any, field: Any) -> bool:
    """Whether an encrypted field was made of the class of a plain one."""
    kind = getattr(field, "plain_class", None)
    if getattr(plain, "plain_class", type(plain)) is kind:
        return True
    return kind is not None and isinstance(plain, tuple(own_classes((kind,))))


def _null(field: Any) -> Iterator[Problem]:
    for each in (field, field.plain_field):
        if not each.null:
            wrong = f"{each} takes no NULL, and one of the two columns may have to."
            hint = (
                "Write null=True, and blank=False where forms shall ask for a value. Forbid NULL "
                "again when the column in clear is gone."
            )
            yield "envelope_fields.E097", wrong, hint


def _database(field: Any) -> Iterator[Problem]:
    """Yield what the database does with the column in clear, and cannot do once it is emptied."""
    plain, number = field.plain_field, "envelope_fields.E098"
    wrong = f"{plain} is converted by {field}, and "
    if plain.unique and not any(index.unique for index in field.indexes):
        # The old column keeps values unique until it goes, and the index is filled by then.
        hint = f'Add `BlindIndexField("{field.name}", unique=True)` beside it.'
        yield number, f"{wrong}is unique.", hint
    if any(getattr(plain, f"unique_for_{each}") for each in _PERIODS):
        yield number, f"{wrong}is unique for a day, month or year.", "Remove it first."
    for constraint in _constraints_on(plain):
        hint = (
            f'Remove it; for uniqueness, add `BlindIndexField("{field.name}", unique=True)` and '
            "name that in it."
        )
        yield number, f"{wrong}the constraint {constraint} is about it.", hint
    if plain.has_db_default():
        hint = f"Remove it, and give {field} a default=."
        yield number, f"{wrong}the database has a default for it.", hint


_PERIODS = ("date", "month", "year")


def _constraints_on(plain: Any) -> Iterator[str]:
    meta, names = plain.model._meta, {plain.name, plain.attname}
    for fields in meta.unique_together:
        if not names.isdisjoint(fields):
            yield f"unique_together of {', '.join(fields)}"
    for constraint in meta.constraints:
        if not names.isdisjoint(names_in(constraint)):
            yield repr(constraint.name)


def names_in(constraint: Any) -> Iterator[str]:
    """Yield the names of fields that a constraint, an index or a generated field is about."""
    yield from (name.lstrip("-") for name in getattr(constraint, "fields", ()))
    yield from getattr(constraint, "include", None) or ()
    for part in ("condition", "check", "expressions", "expression"):
        yield from names_of(getattr(constraint, part, None))


def names_of(part: Any) -> Iterator[str]:
    """Yield the names that a condition, or the parts of an expression, refer to."""
    if isinstance(part, models.F):
        yield part.name.split("__")[0]  # type: ignore[attr-defined]  # not in the stubs
    elif isinstance(part, tuple) and part and isinstance(part[0], str):  # of a Q
        yield part[0].split("__")[0]
        yield from names_of(part[1])
    else:
        for each in _parts(part):
            yield from names_of(each)


def _parts(part: Any) -> Any:
    if isinstance(part, list | tuple):
        return part
    if isinstance(part, models.Q):
        return part.children
    return part.get_source_expressions() if hasattr(part, "get_source_expressions") else ()


def _index(field: Any) -> Iterator[CheckMessage]:
    plain = field.plain_field
    indexes = [each for each in plain.model._meta.indexes if plain.name in names_in(each)]
    if (plain.db_index or indexes) and not field.indexes:
        yield Warning(
            f"{plain} has an index, which goes with its column.",
            hint=f'If rows are found by it, add `BlindIndexField("{field.name}")` before the '
            "conversion reads what is encrypted.",
            obj=field,
            id="envelope_fields.W099",
        )
