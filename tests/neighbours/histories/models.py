import uuid

from django.db import models
from simple_history.models import HistoricalRecords

from envelope_fields.fields import BlindIndexField, EncryptedDateTimeField, EncryptedTextField
from tests.fields.family import FAMILY, encrypted


class Chart(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True)
    secret = EncryptedTextField(key="lab", on_denied="mask")
    text_index = BlindIndexField("text", normalizer="casefold")
    secret_index = BlindIndexField("secret", normalizer="casefold", unique=True)

    history = HistoricalRecords()


class Bound(models.Model):
    """Bound to its row: so are the rows of its history, which have the same columns."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    chart = models.ForeignKey(Chart, models.CASCADE)
    title = models.CharField(max_length=50)
    text = EncryptedTextField(bind_to=("id", "chart"))
    secret = EncryptedTextField(key="lab", on_denied="mask", bind_to=("chart",))

    history = HistoricalRecords()


NAMES = {name.lower(): name for name in FAMILY}


class Everything(models.Model):
    """An encrypted field of each type, that may be NULL, and one that says when it was saved."""

    locals().update({column: encrypted(name, null=True) for column, name in NAMES.items()})
    saved = EncryptedDateTimeField(auto_now=True)

    history = HistoricalRecords()
