"""Envelopes that a fixture brings: an object keeps them until it is saved, and opens them on sight.

So code that looks at the object meanwhile, such as a receiver of `pre_save`, finds values, and what
is stored is the envelope as it came, whose key may come later in the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields.carriers import StoredEnvelope, Unencrypted

_STATE = "envelope_fields"  # in the object's `_state`: attributes, and what was brought for them
_DEFERRED = object()


class Brought:
    """An envelope that was brought for an attribute, and its value if somebody has looked."""

    __slots__ = ("_seen", "stored")

    def __init__(self, stored: StoredEnvelope) -> None:
        self.stored = stored
        self._seen: list[Any] = []

    def value(self, field: Any) -> Any:
        """Return the value, always the same object.

        Raises:
            EnvelopeError: it does not open.
        """
        if not self._seen:
            self._seen.append(self._open(field))
        return self._seen[0]

    def carrier(self, field: Any, instance: Model) -> StoredEnvelope | Unencrypted:
        """Return what is to be stored: the envelope, unless its value was changed in place."""
        if self._seen and self._seen[0].__hash__ is None:  # a list or a dictionary
            plaintext = field.to_plaintext(self._seen[0])
            if plaintext != field.to_plaintext(self._open(field)):
                return Unencrypted(self._seen[0], instance)
        return self.stored

    def _open(self, field: Any) -> Any:
        return field.reader(self.stored.envelope, None, None)


def all_brought(instance: Model) -> dict[str, Brought | None]:
    """Return what was brought for the attributes of an object.

    None is for those that a fixture has set, and that are ordinary attributes since.
    """
    known: dict[str, Brought | None] = vars(instance._state).setdefault(_STATE, {})
    return known


def brought_for(field: Any, instance: Model) -> Brought | None:
    """Return what stands in for the attribute of an object that is not saved, if anything does."""
    known = vars(instance._state).get(_STATE)
    if known is None or field.attname in instance.__dict__ or not instance._state.adding:
        return None
    found: Brought | None = known.get(field.attname)
    return found


class EncryptedAttribute(DeferredAttribute):
    """The attribute of an encrypted field: what a fixture has brought for it is its value."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is not None:
            brought = brought_for(self.field, instance)
            if brought is not None:
                return brought.value(self.field)
        return super().__get__(instance, cls)


def carry_in_raw_saves(model: Any) -> None:
    """Have an object hold carriers while it is saved as it is, and values before and after.

    A raw save asks no field, but the attributes, for what to store. Nothing else tells when.
    """
    original = model._save_table
    if getattr(original, "carries", False):  # of a parent
        return

    @wraps(original)
    def _save_table(self: Model, raw: bool = False, *args: Any, **kwargs: Any) -> Any:
        if not raw:
            return original(self, raw, *args, **kwargs)
        with _carriers_in(self):
            return original(self, raw, *args, **kwargs)

    vars(_save_table)["carries"] = True
    model._save_table = _save_table


@contextmanager
def _carriers_in(instance: Model) -> Iterator[None]:
    held, known = instance.__dict__, all_brought(instance)
    before: dict[str, Any] = {}
    for field in encrypted_fields(instance):
        name, brought = field.attname, known.setdefault(field.attname, None)
        if name in held:
            before[name] = held[name]
            held[name] = _carrier(held[name], instance)
        elif brought is not None:
            before[name] = _DEFERRED
            held[name] = brought.carrier(field, instance)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _DEFERRED:
                # It is read from the database from now on, as after any save of another's value.
                del held[name]
            else:
                held[name] = value


def encrypted_fields(instance: Model) -> list[Any]:
    """Return the encrypted fields of an object."""
    return [field for field in instance._meta.concrete_fields if hasattr(field, "to_plaintext")]


def _carrier(value: Any, instance: Model) -> Any:
    is_kept = value is None or isinstance(value, StoredEnvelope | Unencrypted)
    if is_kept or hasattr(value, "resolve_expression"):
        return value
    return Unencrypted(value, instance)
