"""Fields of one's own, made of the mixin and another field of Django."""

from django.core.exceptions import ValidationError
from django.db import models

from envelope_fields.fields import EncryptedFieldMixin


class EncryptedDateField(EncryptedFieldMixin, models.DateField):
    def to_plaintext(self, value):
        try:
            return self.to_python(value).isoformat().encode()
        except ValidationError:
            del value
        raise ValueError(f"{self}: this is no date.")

    def from_plaintext(self, plaintext):
        return self.to_python(plaintext.decode())


class EncryptedIntegerField(EncryptedFieldMixin, models.IntegerField):
    validators = models.Field.validators  # without the limits of a column of integers

    def to_plaintext(self, value):
        return str(self.get_prep_value(value)).encode()

    def from_plaintext(self, plaintext):
        return int(plaintext)


class Birth(models.Model):
    day = EncryptedDateField(null=True, blank=True)
    grams = EncryptedIntegerField(default=0)
    recorded = EncryptedDateField(auto_now=True)
