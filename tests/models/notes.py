"""Models of the test project."""

from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Note(models.Model):
    title = models.CharField(max_length=100, blank=True)
    text = EncryptedTextField(blank=True)
    data = EncryptedJSONField(default=dict, null=True)
