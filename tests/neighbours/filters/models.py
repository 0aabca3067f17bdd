from django.db import models

from envelope_fields.fields import BlindIndexField, EncryptedEmailField, EncryptedTextField


class Patient(models.Model):
    name = models.CharField(max_length=50)
    notes = EncryptedTextField(blank=True, null=True)


class Contact(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    email = EncryptedEmailField(blank=True)
    email_index = BlindIndexField("email", normalizer="email")
    phone = EncryptedTextField(blank=True)
    phone_index = BlindIndexField("phone", normalizer="digits")


class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    reason = EncryptedTextField()
