from auditlog.registry import auditlog
from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Note(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()
    data = EncryptedJSONField(null=True)


class Excluded(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()


auditlog.register(Note)
auditlog.register(Excluded, exclude_fields=["text"])
