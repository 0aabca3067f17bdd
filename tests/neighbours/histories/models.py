from django.db import models
from simple_history.models import HistoricalRecords

from envelope_fields.fields import EncryptedTextField


class Chart(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True)
    secret = EncryptedTextField(key="lab", on_denied="mask")

    history = HistoricalRecords()
