from django.db import models

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedBooleanField,
    EncryptedDateField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedTextField,
)

MASKED = {"null": True, "blank": True, "key": "lab", "on_denied": "mask"}


class Sample(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True)
    text_index = BlindIndexField("text", normalizer="casefold")
    secret = EncryptedTextField(key="lab", on_denied="mask")
    data = EncryptedJSONField(**MASKED)
    size = EncryptedIntegerField(**MASKED)
    taken = EncryptedDateField(**MASKED)
    positive = EncryptedBooleanField(**MASKED)
