"""What another package has stored, in the columns of a model that is ours by now."""

from django.db import models

from envelope_fields.fields import EncryptedDateTimeField, EncryptedTextField
from envelope_fields.fields.legacy import DjangoCryptography, FernetFields, Plaintext


class Letter(models.Model):
    text = EncryptedTextField(null=True, legacy=[FernetFields(), DjangoCryptography()])
    sent_at = EncryptedDateTimeField(
        null=True, key="lab", on_denied="mask", legacy=[Plaintext(), FernetFields()]
    )
    owner = models.IntegerField(default=0)
    signed = EncryptedTextField(null=True, bind_to=("owner",), legacy=[FernetFields()])
