from django.db import models

from envelope_fields.fields import EncryptedTextField


class Patient(models.Model):
    name = models.CharField(max_length=50)
    notes = EncryptedTextField(blank=True, null=True)


class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    reason = EncryptedTextField()
