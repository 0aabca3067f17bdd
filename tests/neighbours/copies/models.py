import reversion
from auditlog.registry import auditlog
from django.db import models
from field_audit import audit_fields
from modelsearch import index
from parler.models import TranslatableModel, TranslatedFields
from solo.models import SingletonModel
from tracking_fields.decorators import track
from watson import search

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Note(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()
    data = EncryptedJSONField(null=True)


class LeftOut(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField()


class Indexed(index.Indexed, models.Model):
    """One whose search copies a column of its own, and one of a row that it belongs to."""

    text = EncryptedTextField()
    left_out = EncryptedTextField()
    note = models.ForeignKey(Note, models.CASCADE)
    search_fields = [
        index.SearchField("text"),
        index.RelatedFields("note", [index.AutocompleteField("data")]),
    ]

    def __str__(self):
        return self.left_out


class Translated(TranslatableModel):
    translations = TranslatedFields(text=EncryptedTextField())


@audit_fields("text", "left_out")
@track("data")
class Kept(models.Model):
    """One of whose fields each package keeps some."""

    text = EncryptedTextField()
    data = EncryptedJSONField(null=True)
    left_out = models.TextField()


class Single(SingletonModel):
    text = EncryptedTextField()


auditlog.register(Note)
auditlog.register(LeftOut, exclude_fields=["text"])
search.register(Note)
search.register(LeftOut, exclude=["text"])
auditlog.register(Indexed, exclude_fields=["text", "left_out"])
reversion.register(Indexed, exclude=["text", "left_out"])
