from django.db import models

from envelope_fields.fields import EncryptedTextField


class Letter(models.Model):
    text = EncryptedTextField(key="lab")
