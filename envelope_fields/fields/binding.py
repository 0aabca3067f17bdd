"""What the values of an encrypted field are bound to: its label, and those that it had before."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import Field

from envelope_fields.crypto.context import field_context

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin


class BindingMixin(_Field):
    """Knows the contexts of a field's values (docs/spec/envelope-v1.md, "Context")."""

    context: str | None
    previous_contexts: tuple[str, ...]

    @cached_property
    def label(self) -> str:
        """What this field's values are bound to: `app_label.model.field`, or what is pinned."""
        return self.context or self.place

    @cached_property
    def place(self) -> str:
        """Where this field is, as grants name it: `app_label.model.field`, whatever is pinned."""
        return f"{self.model._meta.label_lower}.{self.name}".lower()

    @cached_property
    def contexts(self) -> tuple[bytes, ...]:
        """The contexts under which a value may be read; the first is the one to write with."""
        return tuple(map(field_context, (self.label, *self.previous_contexts)))
