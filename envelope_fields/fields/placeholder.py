"""Values that a migration asks for and no row will hold.

`AddField` computes a default for existing rows, also where there is no row yet, and possibly
before our own tables exist. Such a value needs no key.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from envelope_fields.fields.tables import has_rows

# Not an envelope: were it ever stored, reading it would fail instead of guessing.
PLACEHOLDER = b""


def is_historical(model: type[Model]) -> bool:
    """Whether a model belongs to the state of a migration rather than to an application."""
    return model.__module__ == "__fake__"


def suffices(field: Any, connection: BaseDatabaseWrapper) -> bool:
    """Whether a value without an instance is for a table of a migration that has no rows."""
    return is_historical(field.model) and not has_rows(field.model, connection.alias)


def is_empty_text(field: Any, value: Any) -> bool:
    """Whether this is what the schema editor has a binary column default to: no bytes.

    It asks the fields of migrations; from anywhere else, bytes are a mistake.
    """
    return type(value) is bytes and not value and is_historical(field.model)


def advice(model: type[Model]) -> str:
    """Return what to do in a migration whose values need a key that is not there yet."""
    if not is_historical(model):
        return ""
    return (
        ' A migration that writes encrypted values has ("envelope_fields", '
        '"0002_default_master_key") in its dependencies.'
    )
