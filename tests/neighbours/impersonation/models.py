from django.db import models

from envelope_fields.fields import EncryptedTextField


class Note(models.Model):
    text = EncryptedTextField(key="doctors", on_denied="mask")
