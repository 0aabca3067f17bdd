"""What carriers of fixtures are to an encrypted field: objects hold them until they are saved."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Model

from envelope_fields.crypto import format
from envelope_fields.fields.binding import BindingMixin
from envelope_fields.fields.brought import brought_for
from envelope_fields.fields.carriers import StoredEnvelope, Unencrypted
from envelope_fields.fields.masking import refuse_mask


class CarryingMixin(BindingMixin):
    """Takes envelopes that a fixture brings, and gives them to one that is dumped."""

    writer: Any

    def clean(self, value: Any, model_instance: Model | None) -> Any:
        if type(value) is StoredEnvelope:
            return value
        return super().clean(value.value if type(value) is Unencrypted else value, model_instance)

    def value_from_object(self, obj: Model) -> Any:
        value = super().value_from_object(obj)
        return value.value if type(value) is Unencrypted else value

    def _own(self, stored: StoredEnvelope) -> StoredEnvelope:
        if stored.label != self.label:
            raise FieldError(
                f"{self} cannot hold an envelope of {stored.label}: it would not open."
            )
        return stored

    def value_to_string(self, obj: Model) -> Any:
        """Return the value as the text of an envelope, as fixtures hold it, or None for NULL."""
        brought = brought_for(self, obj)
        stored = None if brought is None else brought.carrier(self, obj)
        if isinstance(stored, StoredEnvelope):
            return format.encode_text(stored.envelope)
        refuse_mask(self, self.value_from_object(obj))
        carrier = Unencrypted(self.value_from_object(obj), obj)
        if carrier.value is None:
            return None
        if type(carrier.value) is StoredEnvelope:
            return format.encode_text(carrier.value.envelope)
        # The text leaves the database, and must not outlive a key that is rolled back.
        return format.encode_text(self.writer(carrier, None))
