import reversion
from django.db import models

from envelope_fields.fields import EncryptedTextField


@reversion.register()
class Note(models.Model):
    text = EncryptedTextField()
