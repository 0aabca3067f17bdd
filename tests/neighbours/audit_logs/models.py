from auditlog.registry import auditlog
from django.db import models

from envelope_fields.fields import BlindIndexField, EncryptedJSONField, EncryptedTextField


class Note(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()
    data = EncryptedJSONField(null=True)


class Excluded(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()
    text_index = BlindIndexField("text", normalizer="casefold")


auditlog.register(Note)
auditlog.register(Excluded, exclude_fields=["text"])
