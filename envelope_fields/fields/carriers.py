"""What travels from `pre_save` to `get_db_prep_save` in place of a value.

Django shows a failed statement's variables in its error reports; these show nothing.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model


class Unencrypted:
    """A value on its way to be encrypted, and the row that it belongs to."""

    __slots__ = ("instance", "value")

    def __init__(self, value: Any, instance: Model | None) -> None:
        self.value = value
        self.instance = instance

    def __repr__(self) -> str:
        return "<Unencrypted value>"


class StoredEnvelope:
    """An envelope that a fixture brings, which goes into its column as it is."""

    __slots__ = ("envelope",)

    def __init__(self, envelope: bytes) -> None:
        self.envelope = envelope

    def __repr__(self) -> str:
        return "<StoredEnvelope>"
