"""Models that other packages have stored for, in columns beside the encrypted ones.

They are in a registry of their own; tests make the tables.
"""

from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedQuerySet, EncryptedTextField
from envelope_fields.fields.legacy import (
    EncryptedModelFields,
    FernetEncryptedFields,
    Mirage,
    Pgcrypto,
    Plaintext,
    SearchableEncryptedFields,
)
from tests.models.tables import Registry

apps = Registry("tests")


def of(theirs, *readers, **options):
    return EncryptedTextField(converts=theirs, legacy=readers, null=True, **options)


class Card(models.Model):
    """A card of a patient."""

    title = models.CharField(max_length=20, blank=True)
    text_theirs = models.TextField(null=True, db_column="text")
    text = of("text_theirs", EncryptedModelFields(), Plaintext(), db_column="text encrypted")
    token_theirs = models.TextField(null=True)
    token = of("token_theirs", FernetEncryptedFields())
    mirage_theirs = models.CharField(max_length=1000, null=True)
    mirage = of("mirage_theirs", Mirage())
    message_theirs = models.BinaryField(null=True)
    message = of("message_theirs", Pgcrypto())
    sealed_theirs = models.BinaryField(null=True)
    sealed = of("sealed_theirs", SearchableEncryptedFields())
    facts_theirs = models.JSONField(null=True)
    facts = EncryptedJSONField(converts="facts_theirs", legacy=[FernetEncryptedFields()], null=True)

    objects = models.Manager()
    encrypted = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "tests"
