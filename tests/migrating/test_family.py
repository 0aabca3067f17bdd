"""Migrations of encrypted fields of every type."""

from datetime import timedelta

import pytest
from django.db import models
from django.utils.timezone import localdate, now

from envelope_fields import fields
from envelope_fields.migrating.refusals import ConversionRefused
from tests.fields.family import FAMILY, encrypted, plain
from tests.migrating.columns import add, alter, name, patient
from tests.models.others import Phone, PhoneField

pytestmark = pytest.mark.with_our_tables

LABEL = "zzz_clinic"
VALUES = {each: values[-1] for each, (_, values) in FAMILY.items()}


def column(each):
    return each.lower()


def columns(make, **options):
    return {column(each): make(each, **options) for each in FAMILY}


def values(project, suffix=""):
    names = [f"{column(each)}{suffix}" for each in FAMILY]
    found = project.rows(LABEL, "Patient").values(*names).get()
    return {each: found[f"{column(each)}{suffix}"] for each in FAMILY}


def test_columns_with_rows(project):
    """They are made, added, altered and copied into another table; and so again, backwards."""
    project.add(LABEL, patient(tenant=name(), **columns(encrypted, null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(**{column(each): VALUES[each] for each in FAMILY})
    added = [add(f"{column(each)}_added", encrypted(each, default=VALUES[each])) for each in FAMILY]
    project.add(LABEL, *added)
    project.migrate()
    assert values(project) == values(project, "_added") == VALUES
    project.add(LABEL, *(alter(each, field) for each, field in columns(encrypted).items()))
    project.add(LABEL, alter("tenant", models.TextField(default="")))
    project.migrate()
    assert values(project) == VALUES
    project.migrate(LABEL, "0002")
    assert values(project) == VALUES
    project.migrate(LABEL, "zero")


def test_what_a_new_column_holds_without_a_default(project):
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    project.rows(LABEL, "Patient").create()
    texts = [each for each in FAMILY if isinstance(VALUES[each], str) and "IP" not in each]
    blank = {each: encrypted(each, blank=True) for each in texts}
    project.add(
        LABEL,
        *(add(column(each), field) for each, field in blank.items()),
        add("binary", fields.EncryptedBinaryField(blank=True)),
        add("made", fields.EncryptedDateTimeField(auto_now_add=True)),
        add("day", fields.EncryptedDateField(auto_now=True)),
        add("hour", fields.EncryptedTimeField(auto_now=True)),
    )
    project.migrate()
    row = project.rows(LABEL, "Patient").get()
    assert {each: getattr(row, column(each)) for each in blank} == dict.fromkeys(blank, "")
    assert row.binary == b""
    assert now() - row.made < timedelta(minutes=5)
    assert row.day in (localdate(row.made), localdate())
    assert row.hour.tzinfo is None


def test_where_no_value_is_meant_there_is_none_to_add(project):
    """As for the plain fields: a date or a number has no empty value."""
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    project.rows(LABEL, "Patient").create()
    project.add(LABEL, *(add(each, field) for each, field in columns(encrypted, null=True).items()))
    project.migrate()
    assert set(values(project).values()) == {None}


@pytest.mark.parametrize(("before", "after"), [(plain, encrypted), (encrypted, plain)])
def test_a_column_with_values_stays_what_it_is(project, before, after):
    project.add(LABEL, patient(**columns(before, null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(**{column(each): VALUES[each] for each in FAMILY})
    altered = columns(after, null=True)
    project.add(LABEL, *(alter(each, field) for each, field in altered.items()))
    with pytest.raises(ConversionRefused) as caught:
        project.migrate()
    for each in altered:
        assert f"zzz_clinic.Patient.{each} " in str(caught.value)
    assert str(caught.value).count("leave its 1 value") == len(FAMILY)
    found = values(project)
    assert {**found, "Binary": bytes(found["Binary"])} == VALUES


def test_fields_of_other_packages(project):
    project.add(LABEL, patient(phone=fields.encrypted(PhoneField(null=True, region="DE"))))
    project.migrate()
    project.rows(LABEL, "Patient").create(phone="+491")
    project.add(LABEL, add("more", fields.encrypted(PhoneField(default="+492"), key="default")))
    project.add(LABEL, alter("phone", fields.encrypted(PhoneField(null=True), on_denied="mask")))
    project.migrate()
    row = project.rows(LABEL, "Patient").get()
    assert (row.phone, row.more) == (Phone("+491"), Phone("+492"))
    project.add(LABEL, alter("phone", PhoneField(null=True)))
    with pytest.raises(ConversionRefused, match=r"Patient\.phone a field that is not encrypted"):
        project.migrate()
