from django.contrib import admin
from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Note(models.Model):
    title = models.CharField(max_length=50)
    notes = EncryptedTextField()
    record = EncryptedJSONField(null=True, blank=True)

    def __str__(self):
        return f"{self.title}: {self.notes}"


admin.site.register(Note)
