"""Migrations of fields of one's own, whose values have a type that is not that of the column."""

from datetime import timedelta

import pytest
from django.db import models
from django.utils.timezone import now

from tests.migrating.columns import add, alter, name, patient
from tests.models.own_types import (
    VALUES,
    EncryptedCharField,
    EncryptedDateField,
    EncryptedDateTimeField,
    EncryptedEmailField,
    EncryptedTimeField,
    own_fields,
)

pytestmark = pytest.mark.with_our_tables

LABEL = "zzz_clinic"
FIRST = {name: first for name, (first, _) in VALUES.items()}
SECOND = {name: second for name, (_, second) in VALUES.items()}


def values(project, suffix=""):
    names = [f"{name}{suffix}" for name in VALUES]
    found = project.rows(LABEL, "Patient").values(*names).get()
    return {name: found[f"{name}{suffix}"] for name in VALUES}


def test_columns_with_rows(project):
    """They are made, added, altered and copied into another table; and so again, backwards."""
    project.add(LABEL, patient(tenant=name(), **own_fields(null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(**FIRST)
    added = {name: field.clone() for name, field in own_fields().items()}
    for column, field in added.items():
        field.default = SECOND[column]
    project.add(LABEL, *(add(f"{column}_added", field) for column, field in added.items()))
    project.migrate()
    assert values(project) == FIRST
    assert values(project, "_added") == SECOND
    project.add(LABEL, *(alter(column, field) for column, field in own_fields().items()))
    project.add(LABEL, alter("tenant", models.TextField(default="")))
    project.migrate()
    assert values(project) == FIRST
    project.rows(LABEL, "Patient").update(**SECOND)
    project.migrate(LABEL, "0002")
    assert values(project) == values(project, "_added") == SECOND
    project.migrate(LABEL, "zero")


def test_what_a_new_column_holds_without_a_default(project):
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    project.rows(LABEL, "Patient").create()
    project.add(
        LABEL,
        add("char", EncryptedCharField(max_length=5, blank=True)),
        add("email", EncryptedEmailField(blank=True)),
        add("made", EncryptedDateTimeField(auto_now_add=True)),
        add("day", EncryptedDateField(auto_now=True)),
        add("hour", EncryptedTimeField(auto_now=True)),
    )
    project.migrate()
    row = project.rows(LABEL, "Patient").get()
    assert (row.char, row.email) == ("", "")
    assert now() - row.made < timedelta(minutes=5)
    assert row.day in (row.made.date(), now().date())
    assert row.hour.tzinfo is None


def test_from_a_plain_column_and_back(project):
    """PostgreSQL casts the text to bytes, and the bytes to text."""
    plain = models.CharField(max_length=20, null=True)
    project.add(LABEL, patient(char=plain, tenant=name()))
    project.add(LABEL, alter("char", EncryptedCharField(max_length=20, null=True)))
    project.migrate()
    row = project.rows(LABEL, "Patient").create(char="kept")
    assert project.rows(LABEL, "Patient").get(pk=row.pk).char == "kept"
    row.delete()
    project.migrate(LABEL, "0001")
    project.rows(LABEL, "Patient").create(char="plain")
    assert project.column(LABEL, "Patient", "char") == ["plain"]
