"""Saves that ask no field, but the attributes, for what to store: those of fixtures.

An object holds prepared values while it is saved as it is, and its own before and after.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db.models import Model

from envelope_fields.fields.carriers import Kept, StoredEnvelope, Unencrypted
from envelope_fields.fields.sealed import BroughtValue, SealedValue, encrypted_fields


def prepare_saves_of(model: Any) -> None:
    """Have the fields of a model asked in raw saves, too, and fixtures' envelopes let go after any.

    Nothing else tells when that is.
    """
    original = model._save_table
    if getattr(original, "prepares", False):  # of a parent
        return

    @wraps(original)
    def _save_table(self: Model, raw: bool = False, *args: Any, **kwargs: Any) -> Any:
        if raw:
            with _prepared_values_in(self):
                saved = original(self, raw, *args, **kwargs)
        else:
            saved = original(self, raw, *args, **kwargs)
        if BroughtValue in map(type, self.__dict__.values()):
            table = kwargs.get("cls", args[0] if args else None)
            _let_go(self, table, kwargs.get("update_fields", args[4] if len(args) > 4 else None))
        return saved

    vars(_save_table)["prepares"] = True
    model._save_table = _save_table


@contextmanager
def _prepared_values_in(instance: Model) -> Iterator[None]:
    held = instance.__dict__
    fields = [field for field in encrypted_fields(instance) if field.attname in held]
    # As prepared values, since error reports show the variables of each frame.
    before = {field.attname: Unencrypted(held[field.attname], instance) for field in fields}
    for field in fields:
        held[field.attname] = _prepared(field, held[field.attname], instance)
    try:
        yield
    finally:
        held.update((name, prepared.value) for name, prepared in before.items())


def _prepared(field: Any, value: Any, instance: Model) -> Any:
    if isinstance(value, BroughtValue):
        return value.prepared(field, instance, add=True)
    if isinstance(value, SealedValue):
        prepared = value.prepared(field, instance, add=False)
        if prepared is not None:
            return prepared
        value = value.open()
    is_prepared = value is None or isinstance(value, StoredEnvelope | Unencrypted | Kept)
    if is_prepared or hasattr(value, "resolve_expression"):
        return value
    return Unencrypted(value, instance)


def _let_go(instance: Model, table: Any, names: Collection[str] | None) -> None:
    """Let an object hold what its row holds now, where a fixture or a draft had brought it."""
    held = instance.__dict__
    fields: tuple[Any, ...] = (table or instance)._meta.local_concrete_fields
    for field in fields:
        brought = held.get(field.attname)
        is_written = not names or field.name in names or field.attname in names
        if is_written and isinstance(brought, BroughtValue):
            held[field.attname] = brought.saved(field.row_of(instance))
