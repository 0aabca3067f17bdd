from django.db import models

from envelope_fields.fields import EncryptedFieldMixin, EncryptedJSONField, EncryptedTextField


class EncryptedIntegerField(EncryptedFieldMixin, models.IntegerField):
    def to_plaintext(self, value):
        return str(self.get_prep_value(value)).encode()

    def from_plaintext(self, plaintext):
        return int(plaintext)


class Patient(models.Model):
    notes = EncryptedTextField()
    maybe = EncryptedTextField(null=True, blank=True)
    record = EncryptedJSONField(default=dict)
    weight = EncryptedIntegerField()
