from auditlog.registry import auditlog
from django.db import models
from parler.models import TranslatableModel, TranslatedFields
from watson import search

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Note(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()
    data = EncryptedJSONField(null=True)


class LeftOut(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()


class Translated(TranslatableModel):
    translations = TranslatedFields(text=EncryptedTextField())


auditlog.register(Note)
auditlog.register(LeftOut, exclude_fields=["text"])
search.register(Note)
search.register(LeftOut, exclude=["text"])
