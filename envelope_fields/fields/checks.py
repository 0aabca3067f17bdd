"""The rules that one encrypted field can break by its own declaration."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ValidationError

from envelope_fields.fields.binding import tracked_model
from envelope_fields.fields.keys import RowKey
from envelope_fields.fields.masks import ON_DENIED
from envelope_fields.models import MasterKey

_BLIND_INDEX = "a blind index of the value, in a column beside it"

# What a field class offers and an encrypted column cannot do: option, id, the way out.
_OPTIONS = (
    (
        "unique",
        "envelope_fields.E010",
        "No two envelopes are equal, so the database would never refuse one. Remove it, and make "
        f"unique {_BLIND_INDEX}.",
    ),
    (
        "primary_key",
        "envelope_fields.E011",
        "A row cannot be found by an envelope. Remove it, and let another field be the key.",
    ),
    (
        "db_index",
        "envelope_fields.E012",
        f"Nothing can be found by an index over envelopes. Remove it, and index {_BLIND_INDEX}.",
    ),
    *(
        (
            f"unique_for_{period}",
            "envelope_fields.E013",
            f"Values cannot be compared in the database. Remove it, and compare {_BLIND_INDEX}.",
        )
        for period in ("date", "month", "year")
    ),
    (
        "db_default",
        "envelope_fields.E014",
        "The database would store its default unencrypted. Use default= instead.",
    ),
    (
        "db_collation",
        "envelope_fields.E015",
        "Envelopes are bytes and have no collation. Remove it.",
    ),
)


def check(field: Any) -> list[CheckMessage]:
    """Return what is wrong with the declaration of an encrypted field."""
    return [
        *_options(field),
        *check_key(field),
        *_context(field),
        *_previous_contexts(field),
        *_on_denied(field),
        *_copy_of(field),
        *_history(field),
    ]


def _options(field: Any) -> Iterator[CheckMessage]:
    for option, number, hint in _OPTIONS:
        if _is_set(field, option):
            yield Error(
                f"'{option}' is not a valid argument for an encrypted field.",
                hint=hint,
                obj=field,
                id=number,
            )


def _is_set(field: Any, option: str) -> bool:
    if option == "unique":  # a primary key says that it is, too
        return field.unique and not field.primary_key
    if option == "db_default":
        return bool(field.has_db_default())
    return bool(getattr(field, option, None))


def check_key(field: Any) -> Iterator[CheckMessage]:
    """Yield what is wrong with the `key=` of an encrypted field."""
    if isinstance(field.key, RowKey):
        yield from field.key.check(field)
    if field.key is None or callable(field.key):
        return
    if not isinstance(field.key, str):
        yield Error(
            "'key' must be the alias of a master key, or a callable that returns one.",
            hint=(
                f"It is of the type {type(field.key).__name__}. A key chosen for each row is a "
                "function that takes the instance."
            ),
            obj=field,
            id="envelope_fields.E016",
        )
        return
    try:
        MasterKey._meta.get_field("alias").clean(field.key, None)
    except ValidationError as error:
        yield Error(
            f"'key' is {field.key!r}, which no master key can have as its alias.",
            hint=" ".join(error.messages),
            obj=field,
            id="envelope_fields.E016",
        )


def _context(field: Any) -> Iterator[CheckMessage]:
    if field.context is not None and not _is_label(field.context):
        yield Error(
            "'context' must be a label: text that is not empty.",
            hint="Leave it out, and the label is app_label.model.field.",
            obj=field,
            id="envelope_fields.E017",
        )


def _previous_contexts(field: Any) -> Iterator[CheckMessage]:
    labels = field.previous_contexts
    if not all(map(_is_label, labels)) or _was_text(labels):
        wrong = "'previous_contexts' must be a list of labels, each of them text."
        hint = 'Write previous_contexts=["app_label.model.field"], also for one label.'
    elif field.label in labels:
        wrong = f"'previous_contexts' names {field.label!r}, which is the field's present label."
        hint = "Values are always read under the present label first. Remove it from the list."
    else:
        return
    yield Error(wrong, hint=hint, obj=field, id="envelope_fields.E018")


def _on_denied(field: Any) -> Iterator[CheckMessage]:
    if field.on_denied not in ON_DENIED:
        yield Error(
            f"'on_denied' is {field.on_denied!r}.",
            hint=f"Valid: {', '.join(map(repr, ON_DENIED))}.",
            obj=field,
            id="envelope_fields.E008",
        )


def _copy_of(field: Any) -> Iterator[CheckMessage]:
    if field.copy_of is None or hasattr(field.original, "to_plaintext"):
        return
    yield Error(
        f"'copy_of' is {field.copy_of!r}, which names no encrypted field.",
        hint='Write copy_of="app_label.Model.field".',
        obj=field,
        id="envelope_fields.E025",
    )


def _history(field: Any) -> Iterator[CheckMessage]:
    """Yield what keeps a history from taking a row whose values the user may not read."""
    tracked = tracked_model(field.model)
    if tracked is None or field.null or field.copied is not None:
        return
    original = next((each for each in tracked._meta.fields if each.name == field.name), None)
    if getattr(original, "masks", False):
        yield Error(
            f"The history has no value where {original} is masked, and the field takes no NULL.",
            hint=f'Declare it a copy, copy_of="{original}", or allow null=True.',
            obj=field,
            id="envelope_fields.E026",
        )


def _is_label(given: Any) -> bool:
    if not isinstance(given, str) or not given:
        return False
    try:
        return bool(given.encode())
    except UnicodeEncodeError:
        return False


def _was_text(labels: tuple[str, ...]) -> bool:
    """Whether one label was given without a list, and came apart into its letters."""
    return len(labels) > 1 and all(len(label) == 1 for label in labels)
