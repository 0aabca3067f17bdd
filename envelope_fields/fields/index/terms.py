"""Values on their way to be an index: normal forms, which show nothing of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import JSONField

from envelope_fields.crypto.canonical import DECIMAL
from envelope_fields.fields.masks import refuse_mask
from envelope_fields.fields.prepared import PreparedValue, Scoped, Unencrypted
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.fields.searches import finds_nothing
from envelope_fields.fields.validation import refuse
from envelope_fields.fields.writing import guarded


class NothingToLookFor(FieldError, ValueError):
    """Nothing of what is looked for is left in its normal form.

    A `ValueError`, too: what a client has sent is not a value then, and forms and views say so.
    """


class Term(PreparedValue):
    """What an index is made of, or looked for in one: a normal form, or that of each of several."""

    __slots__ = ("alias", "forms", "replaced", "scope")

    def __init__(
        self, forms: tuple[bytes, ...], scope: tuple[tuple[str, bytes], ...], alias: str
    ) -> None:
        self.forms = forms  # their bytes; empty where nothing is found by it
        self.scope = scope  # what equality is confined to, as names and canonical values
        self.alias = alias  # of the search key
        self.replaced: Term | None = None  # what to look for in the index that is replaced

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self._all == other._all

    @property
    def _all(self) -> tuple[Any, ...]:
        return self.forms, self.scope, self.alias, self.replaced

    def __hash__(self) -> int:
        return hash((self.forms, self.scope))

    def __copy__(self) -> Term:
        return self

    def __deepcopy__(self, memo: Any) -> Term:
        return self


def term_of_values(index: Any, values: Sequence[Unencrypted], scope: Any) -> Term | None:
    """Return what an index is made of; None where one of the values has no normal form.

    Args:
        scope: the values of the columns of its scope; None where they are not known.

    Raises:
        TypeError, ValueError: its field, or the normaliser, cannot take a value.
    """
    # No name here holds a normal form while something may be raised: error reports show variables.
    forms = forms_of_values(index, values)
    return None if forms is None else index.confined(forms, scope)


def forms_of_values(index: Any, values: Sequence[Unencrypted]) -> tuple[bytes, ...] | None:
    """Return the normal forms of values, as for `term_of_values`; None where one has none."""
    forms: Any = tuple(map(partial(_form_in_row, index), index.sources, values))
    return None if None in forms else forms


def term_looked_for(index: Any, prepared: Unencrypted) -> Term:
    """Return what to look for in an index.

    Args:
        prepared: has a value; a tuple of them, where the index is over several fields.

    Raises:
        NothingToLookFor: nothing of the value is left in its normal form.
        FieldError: it cannot be looked for.
        TypeError, ValueError: as for `term_of_values`.
    """
    term = _term_of_text(index, prepared)
    if term is not None:
        return term
    scope = index.scope_given(prepared)
    if isinstance(prepared.value, Scoped):
        prepared = Unencrypted(prepared.value.value, None)
    all_prepared = _several(index, prepared)
    term = _term_in(index, all_prepared, scope)
    if index.replaced is not None:
        newer = term
        for older in index.and_replaced[1:]:
            newer.replaced = _term_in(older, all_prepared, scope)
            newer = newer.replaced
    return term


def _term_of_text(index: Any, prepared: Unencrypted) -> Term | None:
    """Return what to look for, of a text as most are; None where it takes more, or is refused."""
    # No name here holds a normal form, nor what is raised.
    form = index.form_of_text
    if form is None or index.replaced is not None or type(prepared.value) is not str:
        return None
    try:
        term = Term(((form(prepared.value) or "").encode(),), (), index.key)
    except (TypeError, ValueError):
        return None
    return term if term.forms[0] else None


def _term_in(index: Any, all_prepared: Sequence[Unencrypted], scope: Any) -> Term:
    forms: Any = tuple(map(partial(_form_looked_for, index), index.sources, all_prepared))
    confined: Term = index.confined(() if None in forms else forms, scope)
    return confined


def _several(index: Any, prepared: Unencrypted) -> list[Unencrypted]:
    if not index.is_compound:
        return [prepared]
    if isinstance(prepared.value, tuple | list) and len(prepared.value) == len(index.fields):
        return [Unencrypted(value, None) for value in prepared.value]
    names = ", ".join(index.fields)
    raise FieldError(f"{index} is over several fields: look for a tuple, ({names}).")


def _at(value: Any, path: Sequence[str]) -> Any:
    """Return what is at a path in JSON, or None."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _form(index: Any, source: Any, prepared: Unencrypted) -> bytes | None:
    """Return the normal form of a value of a row, or of one inside JSON; None if it has none."""
    if source.field.is_null(prepared.value):
        return None
    if source.path:
        return _form_in_json(index, source, prepared)
    if isinstance(source.field, JSONField):
        raise FieldError(f"{index} is over JSON, which has many forms. Index a path inside it.")
    # As it is read: what is equal by its index is equal for Python.
    return _normal(index, source, Unencrypted(_read(source.field, prepared), None))


def _form_in_row(index: Any, source: Any, prepared: Unencrypted) -> bytes | None:
    if source.path and not source.field.is_null(prepared.value):
        # As it is read: an encoder makes text of objects, and of keys that are not text.
        prepared = Unencrypted(_at(_read(source.field, prepared), source.path), None)
    return _form(index, source, prepared)


def _form_looked_for(index: Any, source: Any, prepared: Unencrypted) -> bytes | None:
    refuse_mask(source.field, prepared.value)
    if isinstance(prepared.value, bytes | bytearray | memoryview):
        refuse(source.field, prepared.value)
    if isinstance(prepared.value, SealedValue):
        prepared = Unencrypted(prepared.value.open(), None)
    if source.path and not source.field.is_null(prepared.value):
        prepared = Unencrypted(_read(source.field, prepared), None)
    # What a lossy one is asked for is a part of a value, and not one.
    take = _normal if index.normal.lossy and prepared.value is not None else _form
    form = take(index, source, prepared)
    if form is not None or finds_nothing.get():
        return form
    raise NothingToLookFor(
        f"{source.field}: the normalizer {index.normal.name!r} of {index.name} leaves nothing of "
        "what is looked for, and such values are in no index. Look for one that is not empty; "
        "`isnull` works."
    )


def _normal(index: Any, source: Any, prepared: Unencrypted) -> bytes | None:
    normalizer = index.normal
    form = Unencrypted(_normalized(source.field, normalizer, prepared), None)
    if form.value is None:
        return None
    forms = normalizer.normal_forms
    if forms is None and isinstance(form.value, Decimal):
        # By its own digits: the field would bring it to its `decimal_places` again.
        forms = DECIMAL if getattr(source.field, "canonical", None) is DECIMAL else None
    if forms is None:
        return guarded(source.field)(form.value)
    return _encoded(source.field, forms.encode, form)


def _read(field: Any, prepared: Unencrypted) -> Any:
    """Return a value as it would be read after it was written."""
    return field.from_plaintext(guarded(field)(prepared.value))


def _form_in_json(index: Any, source: Any, prepared: Unencrypted) -> bytes | None:
    """Return the normal form of a text, number or truth value; arrays and objects have none."""
    if index.normal.normal_forms is not None:
        return _normal(index, source, prepared) if isinstance(prepared.value, str) else None
    if not isinstance(prepared.value, str | bool | int | float) or prepared.value == "":
        return None
    return _encoded(source.field, _json, prepared)


def _json(value: Any) -> bytes:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 and 1 are equal to Python, and to databases
    return json.dumps(value, ensure_ascii=False).encode()


def _encoded(field: Any, encode: Callable[[Any], bytes], form: Unencrypted) -> bytes:
    try:
        return encode(form.value)
    except Exception as error:
        cause = type(error).__name__
    # Raised from here, since the other error may hold the value.
    raise ValueError(f"{field}: the normal form of this cannot be encoded ({cause}).")


def _normalized(field: Any, normalizer: Any, prepared: Unencrypted) -> Any:
    """Return the normal form of a value; one of a project's own may raise anything."""
    try:
        return normalizer.normalize(prepared.value)
    except Exception as error:
        cause = type(error).__name__
    # Raised from here, since the other error may hold the value.
    raise ValueError(f"{field}: the normalizer {normalizer.name!r} cannot take this ({cause}).")
