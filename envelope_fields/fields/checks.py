"""The rules that one encrypted field can break by its own declaration."""

from collections.abc import Callable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import FieldError, ValidationError
from django.db import models

from envelope_fields.fields.binding import tracked_model
from envelope_fields.fields.bound_columns import Names, column_named, names_in, not_bindable
from envelope_fields.fields.keys import RowKey, alias_for
from envelope_fields.fields.masks import ON_DENIED
from envelope_fields.fields.plain import own_classes, plain_classes
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


Problem = tuple[str, str, str]  # id, what is wrong, and the way out
Rule = Callable[[Any], Iterator[Problem]]


def check(field: Any) -> list[CheckMessage]:
    """Return what is wrong with the declaration of an encrypted field."""
    others = (_context, _previous_contexts, _on_denied, _copy_of, _history, _legacy)
    bound = (_bound_columns, _previous_bindings, _set_by_the_database)
    found = [*errors(field, _options), *check_key(field), *errors(field, *others, *bound)]
    return [*found, *errors(field, _preparing)]


def check_key(field: Any) -> list[CheckMessage]:
    """Return what is wrong with the `key=` of an encrypted field."""
    by_key = field.key.check(field) if isinstance(field.key, RowKey) else []
    return [*by_key, *errors(field, _key)]


def errors(field: Any, *rules: Rule) -> list[CheckMessage]:
    """Return what some rules find wrong with the declaration of a field."""
    problems = (problem for rule in rules for problem in rule(field))
    return [Error(wrong, hint=hint, obj=field, id=number) for number, wrong, hint in problems]


def _options(field: Any) -> Iterator[Problem]:
    for option, number, hint in _OPTIONS:
        if _is_set(field, option):
            yield number, f"'{option}' is not a valid argument for an encrypted field.", hint


def _is_set(field: Any, option: str) -> bool:
    if option == "unique":  # a primary key says that it is, too
        return field.unique and not field.primary_key
    if option == "db_default":
        return bool(field.has_db_default())
    return bool(getattr(field, option, None))


def _key(field: Any) -> Iterator[Problem]:
    number, key = "envelope_fields.E016", field.key
    if key is None or callable(key):
        return
    if not isinstance(key, str):
        wrong = "'key' must be the alias of a master key, or a callable that returns one."
        hint = "A key chosen for each row is a function that takes the instance."
        yield number, wrong, f"It is of the type {type(key).__name__}. {hint}"
        return
    try:
        MasterKey._meta.get_field("alias").clean(key, None)
    except ValidationError as error:
        wrong = f"'key' is {key!r}, which no master key can have as its alias."
        yield number, wrong, " ".join(error.messages)


def _context(field: Any) -> Iterator[Problem]:
    if field.context is not None and not _is_label(field.context):
        wrong = "'context' must be a label: text that is not empty."
        hint = "Leave it out, and the label is app_label.model.field."
        yield "envelope_fields.E017", wrong, hint


def _previous_contexts(field: Any) -> Iterator[Problem]:
    number, labels = "envelope_fields.E018", field.previous_contexts
    was_text = len(labels) > 1 and all(len(label) == 1 for label in labels)  # and came apart
    if was_text or not all(map(_is_label, labels)):
        wrong = "'previous_contexts' must be a list of labels, each of them text."
        yield (
            number,
            wrong,
            'Write previous_contexts=["app_label.model.field"], also for one label.',
        )
    elif field.label in labels:
        wrong = f"'previous_contexts' names {field.label!r}, which is the field's present label."
        hint = "Values are always read under the present label first. Remove it from the list."
        yield number, wrong, hint


def _is_label(given: Any) -> bool:
    if not isinstance(given, str) or not given:
        return False
    try:
        return bool(given.encode())
    except UnicodeEncodeError:
        return False


def _on_denied(field: Any) -> Iterator[Problem]:
    if field.on_denied not in ON_DENIED:
        valid = ", ".join(map(repr, ON_DENIED))
        yield "envelope_fields.E008", f"'on_denied' is {field.on_denied!r}.", f"Valid: {valid}."


def _copy_of(field: Any) -> Iterator[Problem]:
    if field.copy_of is None:
        return
    if not hasattr(field.original, "to_plaintext"):
        wrong = f"'copy_of' is {field.copy_of!r}, which names no encrypted field."
        yield "envelope_fields.E025", wrong, 'Write copy_of="app_label.Model.field".'
    elif _contexts(field, field.bind_to) != _contexts(field.original, field.original.bind_to):
        wrong = f"{field.original} is bound to other columns than its copy."
        hint = "Copied values are bound to what they were copied with. Declare the same bind_to=."
        yield "envelope_fields.E028", wrong, hint
    elif not _earlier(field.original) <= _earlier(field):
        wrong = f"{field.original} has 'previous_bindings' that its copy lacks."
        hint = "Values may be copied before they are bound anew. Declare the same for the copy."
        yield "envelope_fields.E028", wrong, hint


def _earlier(field: Any) -> set[tuple[str, ...]]:
    return {_contexts(field, names) for names in field.previous_bindings}


def _contexts(field: Any, names: Names) -> tuple[str, ...]:
    """Return what columns are called in contexts."""
    columns = ((then, now, column_named(field.model, now)) for then, now in names_in(names))
    return tuple(
        getattr(each, "attname", then) if then == now else then for then, now, each in columns
    )


def _bound_columns(field: Any) -> Iterator[Problem]:
    bindings = (field.bind_to, *field.previous_bindings)
    for name in dict.fromkeys(now for names in bindings for _, now in names_in(names)):
        problem = not_bindable(field.model, name)
        if problem is not None:
            yield "envelope_fields.E027", problem.wrong, problem.hint


def _previous_bindings(field: Any) -> Iterator[Problem]:
    if field.bind_to in field.previous_bindings:
        wrong = f"'previous_bindings' has {field.bind_to!r}, which values are bound to at present."
        hint = "Values are always read by the present binding first. Remove it from the list."
        yield "envelope_fields.E028", wrong, hint


# Django 6.1 has the database write a foreign key, and no field is asked.
_BY_THE_DATABASE = [
    action
    for action in (getattr(models, f"DB_SET_{what}", None) for what in ("NULL", "DEFAULT"))
    if action is not None
]


def _set_by_the_database(field: Any) -> Iterator[Problem]:
    for column in field.bound_fields:
        if getattr(column.remote_field, "on_delete", None) in _BY_THE_DATABASE:
            wrong = (
                f"Values are bound to {column}, which the database writes when a row is deleted."
            )
            hint = "Nothing could read them then. Use on_delete=PROTECT, CASCADE or DB_CASCADE."
            yield "envelope_fields.E029", wrong, hint


def _history(field: Any) -> Iterator[Problem]:
    """Yield what keeps a history from taking a row whose values the user may not read."""
    tracked = tracked_model(field.model)
    if tracked is None or field.null or field.copied is not None:
        return
    original = next((each for each in tracked._meta.fields if each.name == field.name), None)
    if getattr(original, "masks", False):
        wrong = f"The history has no value where {original} is masked, and the field takes no NULL."
        hint = f'Declare it a copy, copy_of="{original}", or allow null=True.'
        yield "envelope_fields.E026", wrong, hint


def _legacy(field: Any) -> Iterator[Problem]:
    """Yield what keeps values from being read that another package has stored."""
    if not field.legacy or not callable(field.key):
        return
    try:
        alias_for(field, None)
    except FieldError:
        wrong = "'legacy' needs to know by whose key it is decided who may read."
        hint = (
            "Let key(None) return an alias; or use the alias of one key until the conversion is "
            "finished, and re-encrypt then: `python manage.py rewrap --re-encrypt`."
        )
        yield "envelope_fields.E090", wrong, hint


def _preparing(field: Any) -> Iterator[Problem]:
    """Yield which classes of a project would store another value than is stored."""
    kinds = type(field).__mro__
    if own_classes((next(each for each in kinds if "to_plaintext" in vars(each)),)):
        return  # which says itself what is stored
    asked = plain_classes(type(field)) if field.asks_plain else ()
    for each in own_classes(kinds):
        if "get_db_prep_value" in vars(each) and each not in asked:
            wrong = f"get_db_prep_value() of {each.__name__} is not asked for what is stored."
            hint = "Have get_prep_value() return it; or write to_plaintext() and from_plaintext()."
            yield "envelope_fields.E033", wrong, hint
