"""Operations that several tests use. Migrations import their functions from here."""

from unittest import mock

from django.core import serializers
from django.db import migrations, models
from django.db.models import Value

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


def tenant(row):
    return row.tenant


def tenant_or_default(row):
    return "default" if row is None else row.tenant


def patient(**fields):
    """Create the model Patient with these fields."""
    pk = models.BigAutoField(primary_key=True)
    return migrations.CreateModel("Patient", [("id", pk), *fields.items()])


def add(name, field):
    return migrations.AddField("Patient", name, field)


def alter(name, field):
    return migrations.AlterField("Patient", name, field)


def name():
    return models.CharField(max_length=50, default="")


# Everything that AddField may be asked for in a table without rows.
COLUMNS = {
    "default": EncryptedTextField(default="none"),
    "callable_default": EncryptedTextField(default=str),
    "blank": EncryptedTextField(blank=True),
    "neither": EncryptedTextField(),
    "nullable": EncryptedTextField(null=True),
    "json": EncryptedJSONField(default=dict),
    "json_zero": EncryptedJSONField(default=0),
    "json_nullable": EncryptedJSONField(null=True),
    "other_key": EncryptedTextField(default="none", key="lab"),
    "row_key": EncryptedTextField(default="none", key=tenant),
    "pinned": EncryptedTextField(blank=True, context="pinned", previous_contexts=["older"]),
}


PATIENT = ("aaa_clinic", "Patient")


def write_notes(apps, schema_editor):
    patients = apps.get_model(*PATIENT).objects.using(schema_editor.connection.alias)
    patients.create(notes="first")
    patients.bulk_create([apps.get_model(*PATIENT)(notes="second")])


def write_expression(apps, schema_editor):
    """Write the first row of a table, with a value that says itself what field it is for."""
    model = apps.get_model(*PATIENT)
    notes = Value("first", output_field=model._meta.get_field("notes"))
    model.objects.using(schema_editor.connection.alias).create(notes=notes)


def update_notes(apps, schema_editor):
    patients = apps.get_model(*PATIENT).objects.using(schema_editor.connection.alias)
    patients.update(notes="updated")


def load_notes(apps, schema_editor):
    """Load a fixture in the state of a migration, as the internet says to."""
    data = [{"model": ".".join(PATIENT), "pk": pk, "fields": {"notes": "loaded"}} for pk in (1, 2)]
    with mock.patch("django.core.serializers.python.apps", apps):
        for loaded in serializers.deserialize("python", data):
            loaded.save(using=schema_editor.connection.alias)
