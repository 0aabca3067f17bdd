"""Upserts that find rows by what constraints over indexes keep unique."""

import datetime
import uuid

import pytest
from django.db import connection

from tests.models.indexed import Member, Person, Tenant, Visit

A, OTHER_A = "Ada@example.org", "ada@EXAMPLE.org"
DAY = datetime.date(2026, 1, 1)

pytestmark = pytest.mark.skipif(connection.vendor == "mysql", reason="has no unique_fields")


def upsert(rows, unique_fields, *update_fields):
    type(rows[0]).objects.bulk_create(
        rows, update_conflicts=True, unique_fields=unique_fields, update_fields=update_fields
    )


@pytest.mark.parametrize("names", [["day", "reason"], ["reason", "day"]])
def test_several_columns(names):
    person, other = Person.objects.create(), Person.objects.create()
    Visit.objects.create(person=person, day=DAY, reason="Fever")
    rows = [Visit(person=other, day=DAY, reason="FEVER"), Visit(person=other, reason="fever")]
    upsert(rows, names, "person", "reason")
    assert sorted(Visit.objects.values_list("person", "reason")) == [
        (other.pk, "FEVER"),
        (other.pk, "fever"),
    ]
    assert Visit.objects.filter(reason="fever").count() == 2


@pytest.mark.parametrize("names", [["email"], ["tenant", "email"]])
def test_within_a_scope(names):
    one, two = (Tenant.objects.create(name=name) for name in ("one", "two"))
    Member.objects.create(tenant=one, name="ada", email=A)
    rows = [Member(id=uuid.uuid4(), tenant=each, name="new", email=OTHER_A) for each in (one, two)]
    upsert(rows, names, "name")
    found = Member.objects.values_list("tenant__name", "name")
    assert sorted(found) == [("one", "new"), ("two", "new")]
