from django.db import models
from postgres_copy import CopyManager
from psqlextra.models import PostgresModel

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedEmailField,
    EncryptedJSONField,
    EncryptedTextField,
)


class Note(models.Model):
    title = models.CharField(max_length=50, unique=True)
    text = EncryptedTextField(null=True)
    data = EncryptedJSONField(null=True)

    objects = CopyManager()


class Person(PostgresModel):
    name = models.CharField(max_length=50, unique=True)
    email = EncryptedEmailField(null=True)
    email_index = BlindIndexField("email", normalizer="email")
