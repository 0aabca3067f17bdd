"""Rows and their indexes: what an object holds of one, and what one is made of when it is written.

The index of a value follows from the value. So whatever an object holds, a statement that writes
the value computes its index, and one that leaves the value alone leaves the index alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from django.core.exceptions import FieldError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.crypto.blind_index import single_value_part
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.fields.defaults import is_historical
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.terms import Term, term_of_values
from envelope_fields.fields.masks import ShownValue
from envelope_fields.fields.prepared import PreparedValue, StoredEnvelope, Unencrypted
from envelope_fields.fields.sealed import MISSING, BroughtValue, SealedValue
from envelope_fields.fields.written import held_in, inserted, makes_values, plain_value, row_of
from envelope_fields.keyring import indexes

# And not assigned, nor looked at: JSON can be changed inside.
_AS_LOADED = (SealedValue, ShownValue)


class StoredIndex(bytearray):
    """The bytes of an index as a row, or a fixture, has them.

    Not `bytes`, of which Django and packages that log or export each column make text as UTF-8,
    which an index is not.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<StoredIndex>"

    __str__ = __repr__

    def __hash__(self) -> int:  # type: ignore[override]  # it is never changed
        return hash(bytes(self))

    def __getitem__(self, part: Any) -> Any:
        return bytes(self)[part]  # such as the id of the key version, by which a set is asked


class IndexedRow(PreparedValue):
    """What travels from `pre_save` in place of an index: the row whose values it is made of."""

    __slots__ = ("brought", "instance")

    def __init__(self, instance: Model | None, brought: Any = None) -> None:
        self.instance = instance
        self.brought = brought  # what a fixture brings of the index


class InsertedRow(IndexedRow):
    """The same of a row that is inserted: no statement says what it has of the values."""

    __slots__ = ()


class IndexAttribute(DeferredAttribute):
    """The attribute of a blind index: it can be read, and is not assigned."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        name = self.field.attname
        if name not in instance.__dict__:
            return super().__get__(instance, cls)
        return instance.__dict__[name]

    def __set__(self, instance: Any, value: Any) -> None:
        # What was loaded, also by `refresh_from_db()`; nothing is written of it.
        if value is not None and not isinstance(value, StoredIndex | PreparedValue):
            raise refused(self.field)
        instance.__dict__[self.field.attname] = value

    def __delete__(self, instance: Any) -> None:
        instance.__dict__.pop(self.field.attname, None)


def refused(index: Any) -> FieldError:
    """Return the error for code that would write an index by itself."""
    names = " and ".join(index.source_names)
    return FieldError(
        f"{index} is a blind index: it follows from {names}, and cannot be written by itself. "
        f"Write {names} instead."
    )


def index_of_row(index: Any, row: IndexedRow, using: str) -> bytes | None:
    """Return the index of a row that is inserted.

    Raises:
        FieldError: the object holds what no index can be made of.
        EnvelopeError: a value does not open; or the search key cannot be used.
    """
    instance: Any = row.instance
    held = [_inserted(source.field, row) for source in index.sources]
    brought = brought_with(index, row, held)
    if brought is not None:
        return brought
    try:
        made = index_of_values(index, held, using, instance)
    except (KeyAccessDenied, FieldError):  # or it is masked
        made = _copied(index, instance, held)
        _begin(index, index.alias_in(index.scope_of(instance) or {}), using)
    vars(instance)[index.attname] = None if made is None else StoredIndex(made)
    return made


def quick(index: Any) -> Callable[[InsertedRow], bytes | None]:
    """Return what makes the index of a plain text that is inserted, as most are.

    It returns None where it takes more than that: another value, or a key that is not at hand.
    """
    normalize = index.form_of_text
    if normalize is None or makes_values(index.sources[0].field):
        return lambda row: None
    value_name, name = index.sources[0].field.attname, index.attname
    label, alias, known_value = index.field_path, index.key, indexes.known_value

    # No name here holds the value, or what has it: an error report would show it.
    def part_of(row: InsertedRow) -> bytes:
        form = normalize(row.instance.__dict__[value_name]) or _nothing()
        return single_value_part(form.encode())

    def made(row: InsertedRow) -> bytes | None:
        if type(row.instance.__dict__.get(value_name)) is not str:
            return None
        try:
            found = known_value(label, alias, part_of, row)
        except (_NothingToIndex, UnicodeEncodeError):  # the field says it, without the text
            return None
        if found is not None:
            row.instance.__dict__[name] = StoredIndex(found)
        return found

    return made


def term_of_stored(index: Any) -> Callable[[Any], Term | None] | None:
    """Return what opens a stored value, and returns what its index is made of, as most are.

    That is None where it has no normal form. None is returned where it takes more than that. It
    raises what `read_to_move` of the field does.
    """
    field, normalize, alias = index.sources[0].field, index.form_of_text, index.key
    if normalize is None or field.is_bound or field.legacy_formats:
        return None
    read = field.read_to_move

    # No name here holds the value, nor its normal form: an error report would show it.
    def term(stored: Any) -> Term | None:
        made = Term(((normalize(read(stored)) or "").encode(),), (), alias)
        return made if made.forms[0] else None

    return term


class _NothingToIndex(Exception):
    """A value has no normal form."""


def _nothing() -> NoReturn:
    raise _NothingToIndex


def _inserted(field: Any, row: IndexedRow) -> Any:
    """Return what a row is given of a value: a plain one prepared."""
    instance: Any = row.instance
    made = inserted(field, instance) if type(row) is InsertedRow else MISSING
    if made is not MISSING:
        return made
    held = Unencrypted(held_in(field, instance), instance)
    is_hidden = isinstance(held.value, SealedValue | PreparedValue)
    return held.value if is_hidden else held


def index_of_held(index: Any, instance: Model) -> bytes | None:
    """Return the index of the values that an object holds, for its fixture or its draft.

    That of its row is of the values as they were loaded. Where they may be other ones, it is made
    anew; None where it cannot be, or there is nothing to index: then it is when that is loaded.
    """
    held = [vars(instance).get(source.field.attname) for source in index.sources]
    if all(map(_is_untouched, held)):
        there = getattr(instance, index.attname)
        if there is not None:
            return bytes(there)
    using = instance._state.db or DEFAULT_DB_ALIAS
    try:
        term = term_of(index, [Unencrypted(each, instance) for each in held], instance)
        return None if term is None else macs.index_value(index, term.alias, term, using)
    except (EnvelopeError, FieldError):
        return None


def _is_untouched(value: Any) -> bool:
    """Whether a value is the one that came with the index of its object."""
    is_brought = type(value) is BroughtValue and value.as_text() is not None
    return is_brought or type(value) in _AS_LOADED


def brought_with(index: Any, row: IndexedRow, values: Sequence[Any]) -> bytes | None:
    """Return the index that a fixture or a draft brings, if it is under the present key.

    It comes with an envelope, which the principal may store without reading it.
    """
    brought = row.brought or _brought_by_object(index, row.instance)
    if type(brought) is not StoredIndex:
        return None
    if not all(isinstance(value, StoredEnvelope) for value in values):
        return None
    macs.require_beside(index)
    if macs.is_closed(index):
        return None
    alias = index.alias_in(index.scope_of(row.instance))
    made = bytes(brought)
    return made if macs.is_current(index, alias, made) else None


def _brought_by_object(index: Any, instance: Model | None) -> Any:
    """Return the index of an object that was made of a draft, and still holds its envelopes."""
    held = {} if instance is None else vars(instance)
    is_brought = all(type(held.get(each.field.attname)) is BroughtValue for each in index.sources)
    return held.get(index.attname) if is_brought else None


def _copied(index: Any, instance: Model, held: Sequence[Any]) -> bytes:
    """Return the index of a row that a history follows, where the principal may not open it."""
    known = vars(instance).get(index.attname)
    pairs = zip(index.sources, held, strict=True)
    if type(known) is StoredIndex and all(
        isinstance(value, SealedValue) and source.field.is_copy_of(value.field)
        for source, value in pairs
    ):
        return bytes(known)
    raise


def index_of_values(
    index: Any, values: Sequence[Any], using: str, instance: Model | None = None
) -> bytes | None:
    """Return the index of values, each as it is or as it travels to the database.

    Args:
        instance: the row; it may be with the values, too.
    """
    instance = instance or next(filter(None, map(row_of, values)), None)
    term = term_of(index, values, instance)
    if term is not None:
        return macs.index_value(index, term.alias, term, using)
    if instance is not None or not index.is_scoped:
        _begin(index, index.alias_in(index.scope_of(instance) or {}), using)
    return None


def term_of(index: Any, values: Sequence[Any], instance: Model | None = None) -> Term | None:
    """Return what an index is made of, of values as above; None where they have no normal form."""
    scope = index.scope_of(instance)
    pairs = zip(index.sources, values, strict=True)
    all_prepared = [Unencrypted(plain_value(source.field, each), None) for source, each in pairs]
    return term_of_values(index, all_prepared, scope)


def _begin(index: Any, alias: str, using: str) -> None:
    """Begin an index of which a row is written, also by one that is not in it.

    Otherwise it would begin in a table that has rows, and would have to be filled first.
    """
    try:
        macs.is_reading(index, alias, using)
        macs.require_beside(index)
    except EnvelopeError:
        if not is_historical(index.model):
            raise
        # A migration may come before our tables: then it begins by being filled.
