from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Sample(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True)
    secret = EncryptedTextField(key="lab", on_denied="mask")
    data = EncryptedJSONField(null=True, blank=True, key="lab", on_denied="mask")
