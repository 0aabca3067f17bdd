"""The rules that a blind index can break by its own declaration."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import BooleanField, DateField, JSONField
from django.db.models.constants import LOOKUP_SEP

from envelope_fields.fields.checks import Problem, check_key, errors
from envelope_fields.fields.index.normalizers import DateNormalizer, TextNormalizer
from envelope_fields.fields.text import TextMixin


def check(index: Any) -> list[CheckMessage]:
    """Return what is wrong with the declaration of an index."""
    return (  # each builds on the one before
        errors(index, _sources)
        or errors(index, _normalizer)
        or errors(index, _types, _unique, _replaces, _scope, _key)
        or [*check_key(index), *_few_values(index)]
    )


def _sources(index: Any) -> Iterator[Problem]:
    number = "envelope_fields.E080"
    if not index.fields or len(set(index.fields)) < len(index.fields):
        wrong = "A blind index is of one or several encrypted fields, each named once."
        yield number, wrong, 'Write BlindIndexField("email").'
        return
    try:
        sources = index.sources
    except FieldError as error:
        yield number, str(error), "Name an encrypted field that is declared in the same model."
        return
    hint = 'Name a path into JSON, as in BlindIndexField("record__mrn"), or a field as it is.'
    for source in sources:
        is_json = isinstance(source.field, JSONField)
        if is_json and not source.path:
            wrong = f"{source.field} is indexed as a whole, and the same JSON has many forms."
            yield number, wrong, hint
        elif source.path and not is_json:
            wrong = f"{source.field} is not JSON, and has no {'__'.join(source.path)!r} inside."
            yield number, wrong, hint


def _normalizer(index: Any) -> Iterator[Problem]:
    try:
        normal = index.normal
    except ImproperlyConfigured as error:
        yield "envelope_fields.E081", str(error), "Name a normaliser that there is."
        return
    if normal.lossy and index.is_compound:
        wrong = f"The normaliser {normal.name!r} leaves a part of a value, and not of several."
        yield "envelope_fields.E081", wrong, "Take it for an index of one field."


def _types(index: Any) -> Iterator[Problem]:
    for source in index.sources:
        is_of_text = source.path or isinstance(source.field, TextMixin)
        for kind, fits, what in (
            (TextNormalizer, is_of_text, "texts"),
            (DateNormalizer, isinstance(source.field, DateField), "dates"),
        ):
            if isinstance(index.normal, kind) and not fits:
                wrong = f"The normaliser {index.normal.name!r} is for {what}, "
                wrong += f"and {source.field} has none."
                yield "envelope_fields.E081", wrong, 'Take "exact", or one of your own.'


def _unique(index: Any) -> Iterator[Problem]:
    if index.unique and index.normal.lossy:
        wrong = f"Different values have the same normal form by {index.normal.name!r}."
        yield "envelope_fields.E083", wrong, "Make unique an index of the whole value."


def _replaces(index: Any) -> Iterator[Problem]:
    if not index.replaces:
        return
    if index.replaced is None:
        wrong = f"replaces={index.replaces!r} names no blind index of the same model."
        way_out = "Name the one whose place this one takes, or remove it when that one is gone."
        yield "envelope_fields.E083", wrong, way_out
    elif (declare := _is_no_successor(index, index.replaced)) is not None:
        wrong = f"It does not take the place of {index.replaced}."
        yield "envelope_fields.E083", wrong, declare


def _is_no_successor(index: Any, replaced: Any) -> str | None:
    """Return what to declare otherwise where lookups could not go from one index to the other."""
    if len(replaced.replacing) > 1:
        return "An index is replaced by one other."
    if _is_in_circle(index):
        return "An index does not replace itself, nor one that replaces it."
    if replaced.fields != index.fields:
        return "Name the same fields, in the same order."
    if replaced.scope != index.scope:
        return "Name the same scope; for another one, add an index that replaces none."
    if _part(replaced) != _part(index):
        return "Take a normaliser that is asked by the same lookup."
    if index.shared is not None and replaced.shared == index.shared:
        return "Share another name: the values of one name are under one version of the key."
    return None


def _is_in_circle(index: Any) -> bool:
    met, each = {index.name}, index.replaced
    while each is not None and each.name not in met:
        met.add(each.name)
        each = each.replaced
    return each is not None


def _part(index: Any) -> Any:
    try:
        return index.part_path
    except ImproperlyConfigured:  # which that one says itself
        return None


def _scope(index: Any) -> Iterator[Problem]:
    number = "envelope_fields.E087"
    try:
        columns = index.scope_columns
    except ImproperlyConfigured as error:
        yield number, str(error), 'Write scope=("tenant",), and bind_to=("tenant",).'
        return
    if columns and index.shared:
        wrong = "Values within a scope are not the same in another table."
        yield number, wrong, "Leave shared= out, or scope=."
    known = {name for each in columns for name in (each.field.name, each.attname)}
    for path in getattr(getattr(index.key, "template", None), "names", ()):
        if path.split(LOOKUP_SEP)[0] not in known:
            wrong = f"'key' names tenants by {path!r}, which is not in the scope."
            way_out = "Who looks for a value gives the scope, and the key follows from that alone."
            yield number, wrong, f"{way_out} Name it in scope=, and in bind_to=."


def _key(index: Any) -> Iterator[Problem]:
    if index.key is None:
        wrong = "'key' must be the alias of a search key, or a TenantKey of the scope."
        yield "envelope_fields.E016", wrong, "Leave it out, and the key is 'search'."


def _few_values(index: Any) -> Iterator[CheckMessage]:
    """Warn of values whose frequencies give them away."""
    for source in index.sources:
        is_one_of_few = isinstance(source.field, BooleanField) or source.field.choices
        if is_one_of_few and not source.path and not index.is_compound:
            yield Warning(
                f"{source.field} has few values, and its index shows how often each occurs.",
                hint="One who reads the database can tell which is which by that. Remove the "
                "index, or index the field together with another.",
                obj=index,
                id="envelope_fields.W088",
            )
