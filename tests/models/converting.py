"""Models with fields under conversion, in a registry of their own; tests make the tables."""

import uuid

from django.db import models

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedDateField,
    EncryptedEmailField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedQuerySet,
    EncryptedTextField,
)
from envelope_fields.models import ColumnConversion, ConversionKind
from tests.models.tables import Registry

apps = Registry("tests")


def by_corridor(visit):
    return visit.corridor.name


class Corridor(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        apps = apps
        app_label = "tests"


class Visit(models.Model):
    """The model of the issue: a text under conversion, and a mirror of it."""

    title = models.CharField(max_length=20, blank=True)
    corridor = models.ForeignKey(Corridor, models.CASCADE, null=True, related_name="visits")
    report_clear = models.TextField(null=True, db_column="report")
    report = EncryptedTextField(
        converts="report_clear", db_column="report_encrypted", null=True, blank=True
    )
    mirror = models.TextField(null=True)

    objects = models.Manager()
    encrypted = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "tests"


class LateVisit(Visit):
    class Meta:
        proxy = True
        apps = apps
        app_label = "tests"


class LongVisit(Visit):
    nights = models.IntegerField(default=0)

    class Meta:
        apps = apps
        app_label = "tests"


class Latest(models.Model):
    """The encrypted field comes first, and has defaults."""

    report = EncryptedTextField(
        converts="report_clear", db_column="report_encrypted", null=True, default="none yet"
    )
    day = EncryptedDateField(converts="day_clear", null=True, auto_now=True)
    score = EncryptedIntegerField(converts="score_clear", null=True)
    facts = EncryptedJSONField(converts="facts_clear", null=True, default=dict)
    report_clear = models.TextField(null=True, db_column="report")
    day_clear = models.DateField(null=True)
    score_clear = models.IntegerField(null=True)
    facts_clear = models.JSONField(null=True)

    class Meta:
        apps = apps
        app_label = "tests"


class BoundVisit(models.Model):
    """Values that are bound to their row, and under the key of their corridor."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    corridor = models.ForeignKey(Corridor, models.CASCADE, null=True)
    bound_clear = models.TextField(null=True)
    bound = EncryptedTextField(converts="bound_clear", null=True, bind_to=("id", "corridor_id"))
    keyed_clear = models.TextField(null=True)
    keyed = EncryptedTextField(converts="keyed_clear", null=True, key=by_corridor)

    objects = models.Manager()
    encrypted = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "tests"


class Contact(models.Model):
    """Fields with blind indexes."""

    corridor = models.ForeignKey(Corridor, models.CASCADE, null=True)
    email_clear = models.EmailField(null=True)
    email = EncryptedEmailField(converts="email_clear", null=True)
    email_index = BlindIndexField("email", normalizer="email")
    number_clear = models.TextField(null=True)
    number = EncryptedTextField(converts="number_clear", null=True, bind_to=("corridor",))
    number_index = BlindIndexField("number", scope=("corridor",))
    record_clear = models.JSONField(null=True)
    record = EncryptedJSONField(converts="record_clear", null=True)
    mrn_index = BlindIndexField("record__mrn")

    class Meta:
        apps = apps
        app_label = "tests"


def set_phase(model, field, phase):
    """Have a field be in a phase of its conversion."""
    ColumnConversion.objects.update_or_create(
        model=model._meta.label, field=field,
        defaults={"kind": ConversionKind.COLUMN, "phase": phase},
    )  # fmt: skip
