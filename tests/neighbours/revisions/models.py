import reversion
from django.db import models

from envelope_fields.fields import BlindIndexField, EncryptedTextField


@reversion.register()
class Note(models.Model):
    text = EncryptedTextField()
    text_index = BlindIndexField("text", normalizer="casefold")
