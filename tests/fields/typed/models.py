"""Read by type checkers and never run: each line that is wrong says so."""

from __future__ import annotations

from typing import Any, assert_type

from django.db import models
from django.utils.translation import gettext_lazy as _

from envelope_fields.fields import (
    EncryptedArrayField,
    EncryptedJSONField,
    EncryptedTextField,
    encrypted,
)


def tenant(patient: Any) -> str:
    return str(patient.tenant)


def is_optional() -> bool:
    return True


class Shouted(EncryptedTextField):
    pass


class Coloured(EncryptedTextField):
    def __init__(self, *args: Any, colour: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.colour = colour


class Patient(models.Model):
    notes = EncryptedTextField()
    reason = EncryptedTextField(
        _("reason"),
        blank=True,
        choices=[("a", _("after"))],
        context="clinic.patient.reason",
        default="",
        editable=False,
        help_text=_("why"),
        key="lab",
        max_length=5,
        on_denied="mask",
        previous_contexts=["clinic.patient.motive"],
        validators=[print],
    )
    of_tenant = EncryptedTextField(null=False, key=tenant)
    maybe = EncryptedTextField(null=True, key=lambda patient: "lab")
    either = EncryptedTextField(null=is_optional())
    record = EncryptedJSONField(default=dict, encoder=None)
    copied = EncryptedTextField(copy_of="clinic.patient.reason")
    more = EncryptedJSONField(null=True, on_denied="raise", key=tenant)
    shouted = Shouted(null=True)
    coloured = Coloured("coloured", colour="red", null=True)
    words = EncryptedArrayField(models.TextField(), size=3, key="lab")
    days = EncryptedArrayField(models.DateField(), null=True)
    born = encrypted(models.DateField(null=True), key=tenant, on_denied="mask")

    class Meta:
        app_label = "typed"


class Wrong(models.Model):
    denied = EncryptedTextField(on_denied="hide")  # wrong
    denied_or_null = EncryptedTextField(null=True, on_denied="hide")  # wrong
    option = EncryptedTextField(colour="red")  # wrong
    unique = EncryptedTextField(unique=True)  # wrong
    indexed = EncryptedTextField(null=True, db_index=True)  # wrong
    key = EncryptedTextField(key=5)  # wrong
    json_denied = EncryptedJSONField(on_denied="hide")  # wrong
    json_option = EncryptedJSONField(colour="red")  # wrong
    json_length = EncryptedJSONField(max_length=5)  # wrong
    words = EncryptedArrayField(models.TextField(), unique=True)  # wrong
    no_base = EncryptedArrayField(null=True)  # wrong
    born = encrypted(models.DateField(), key=5)  # wrong
    any_option = encrypted(models.DateField(), null=True)  # wrong

    class Meta:
        app_label = "typed"


def read(patient: Patient) -> None:
    assert_type(patient.notes, str)
    assert_type(patient.reason, str)
    assert_type(patient.of_tenant, str)
    assert_type(patient.maybe, str | None)
    assert_type(patient.record, Any)
    assert_type(patient.more, Any)
    patient.notes.upper()
    patient.maybe.upper()  # wrong
    patient.record["blood"]["group"]
    patient.words.append("a word")
    patient.words.upper()  # wrong
    patient.days.append(None)  # wrong
    print(Patient.notes.field)


def write(patient: Patient) -> None:
    patient.notes = "text"
    patient.notes = 1  # wrong
    patient.notes = None  # wrong
    patient.notes = b"text"  # wrong
    patient.maybe = "text"
    patient.maybe = None
    patient.maybe = 1  # wrong
    patient.either = "text"
    patient.record = {"blood": [0]}
    patient.more = None
    patient.shouted = "text"
    patient.coloured = "text"
    patient.words = ("a", "b")
    patient.words = None  # wrong
    patient.words = 5  # wrong
    patient.days = None
    patient.born = None
