"""What a clinic keeps, and which of it the database may know.

Encrypted is whatever says who somebody is or how they are. In clear stay numbers that mean
nothing outside of the clinic, and what the database itself has to search, sort and join by.
"""

import uuid
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedCharField,
    EncryptedDateField,
    EncryptedEmailField,
    EncryptedJSONField,
    EncryptedTextField,
)

is_international = RegexValidator(
    r"^\+[1-9][0-9 ]{5,17}[0-9]\Z", "Write it with the country, such as +46 8 123 45 67."
)


class Patient(models.Model):
    """Somebody who comes to the clinic. That they do is already a secret, hence the name's."""

    file_number = models.CharField(
        max_length=64, unique=True, help_text="Stands on the paper file; it is searched, in clear."
    )
    registered_on = models.DateField(default=timezone.localdate)
    name = EncryptedTextField(max_length=200)
    born = EncryptedDateField("born on", null=True, blank=True)
    phone = EncryptedCharField(max_length=20, null=True, blank=True, validators=[is_international])
    email = EncryptedEmailField("e-mail", null=True, blank=True)
    email_index = BlindIndexField("email", normalizer="email")
    notes = EncryptedTextField(blank=True)
    record = EncryptedJSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        # Not the name: the admin's log keeps this text, in clear.
        return self.file_number

    def clean(self) -> None:
        if not isinstance(self.record, dict):
            raise ValidationError({"record": "A record is a JSON object, such as {}."})


class Finding(models.Model):
    """What was found in a patient, and is of no other: it opens in this row alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="findings")
    text = EncryptedTextField(bind_to=("id", "patient"))

    class Meta:
        ordering: ClassVar = ["patient", "id"]

    def __str__(self) -> str:
        return f"Finding {self.pk}"


class Resource(models.Model):
    """A FHIR resource, as it came. Its type is in clear: that there is an allergy, not which."""

    resource_type = models.CharField("type", max_length=64)
    fhir_id = models.CharField("FHIR id", max_length=64)
    subject = models.CharField(
        "FHIR id of the patient", max_length=64, blank=True, editable=False, db_index=True
    )
    patient = models.ForeignKey(
        Patient, on_delete=models.CASCADE, null=True, blank=True, related_name="resources"
    )
    content = EncryptedJSONField()

    class Meta:
        ordering: ClassVar = ["resource_type", "fhir_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["resource_type", "fhir_id"], name="clinic_resource_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.resource_type}/{self.fhir_id}"
