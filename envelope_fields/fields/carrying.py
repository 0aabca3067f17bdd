"""What carriers of fixtures are to an encrypted field: objects hold them until they are saved."""

from functools import cached_property, partial
from typing import Any

from django.core.exceptions import FieldError
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from envelope_fields.crypto import format
from envelope_fields.fields import stand_ins
from envelope_fields.fields.binding import BindingMixin
from envelope_fields.fields.carriers import Kept, StoredEnvelope, Unencrypted
from envelope_fields.fields.masking import refuse_mask
from envelope_fields.fields.masks import StoredCol
from envelope_fields.fields.sealed import sealed_in
from envelope_fields.fields.storing import storable


class CarryingMixin(BindingMixin):
    """Takes envelopes that a fixture brings, and gives them to one that is dumped.

    From elsewhere, nothing is taken that only stands for a value.
    """

    writer: Any

    @cached_property
    def validators(self) -> list[Any]:
        # Serializers have these alone, where forms have clean().
        return [*super().validators, stand_ins.Validator(self)]

    def to_python(self, value: Any) -> Any:
        if isinstance(value, stand_ins.BYTES):  # Django would store their repr
            stand_ins.refuse(self, value)
        return super().to_python(value)

    def clean(self, value: Any, model_instance: Model | None) -> Any:
        if type(value) is StoredEnvelope:
            return value
        value = value.value if type(value) is Unencrypted else value
        stand_ins.Validator(self)(value)
        return super().clean(value, model_instance)

    def value_from_object(self, obj: Model) -> Any:
        value = super().value_from_object(obj)
        return value.value if type(value) is Unencrypted else value

    def stored_by(
        self, carrier: StoredEnvelope | Kept, connection: BaseDatabaseWrapper
    ) -> bytes | StoredCol:
        """Return what a prepared value that is no plain one puts into the column."""
        if isinstance(carrier, Kept):
            return self._kept_by(carrier, connection)
        return storable(self, self._own(carrier), connection.alias)

    def _kept_by(self, carrier: Kept, connection: BaseDatabaseWrapper) -> bytes | StoredCol:
        """Return the column itself for a sealed value, or its envelope for another database."""
        instance = carrier.instance
        encrypted_anew = partial(self._encrypted_anew, carrier, connection.alias)
        if connection.alias != router.db_for_write(type(instance), instance=instance):
            return encrypted_anew()
        column = StoredCol(self.model._meta.db_table, self)
        column.encrypted_anew = encrypted_anew
        return column

    def _encrypted_anew(self, carrier: Kept, using: str) -> bytes:
        opened = Unencrypted(carrier.sealed.open(), carrier.instance)
        refuse_mask(self, opened.value)
        envelope: bytes = self.writer(opened, using)
        return envelope

    def _own(self, stored: StoredEnvelope) -> StoredEnvelope:
        if stored.label != self.label:
            raise FieldError(
                f"{self} cannot hold an envelope of {stored.label}: it would not open."
            )
        return stored

    def value_to_string(self, obj: Model) -> Any:
        """Return the value as the text of an envelope, as fixtures hold it, or None for NULL."""
        sealed = sealed_in(obj, self)
        text = None if sealed is None else sealed.as_text(self, obj)
        if text is not None:
            return text
        refuse_mask(self, self.value_from_object(obj))
        carrier = Unencrypted(self.value_from_object(obj), obj)
        if carrier.value is None:
            return None
        if type(carrier.value) is StoredEnvelope:
            return format.encode_text(carrier.value.envelope)
        # The text leaves the database, and must not outlive a key that is rolled back.
        return format.encode_text(self.writer(carrier, None))
