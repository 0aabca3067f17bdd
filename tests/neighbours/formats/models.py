from django.db import models

from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.legacy import DjangoCryptography, FernetFields


class Visit(models.Model):
    """The table of `old_build`, after the change to our fields."""

    report = EncryptedTextField(null=True, legacy=[FernetFields()])
    note = EncryptedTextField(null=True, legacy=[DjangoCryptography()])
