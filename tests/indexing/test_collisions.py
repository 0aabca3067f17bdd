"""Rows that constraints would not take beside each other, found before anything is written."""

import json
from datetime import date

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from envelope_fields.indexing import collisions, find_indexes
from tests.models.indexed import Account, Floor, Member, Person, Tenant, Visit

pytestmark = pytest.mark.django_db(databases="__all__")

DAY = date(2026, 1, 1)


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def found(label):
    [table] = [each for each in find_indexes([label]) if each.using == "default"]
    pairs = [each for batch in collisions(table) for each in batch.collisions]
    return {(each.constraint, each.row, each.other) for each in pairs}


def as_old_build(table, index, *rows):
    """Write rows one by one, as a build that does not know the index has."""
    for row in rows:
        row.save()
        execute(f"UPDATE {table} SET {index} = NULL")
    return [str(row.pk) for row in rows]


def test_with_another_column(capsys):
    person = Person.objects.create(floor=Floor.objects.create())
    first, second, *_ = as_old_build(
        "tests_visit", "reason_index",
        Visit(person=person, reason="Cough", day=DAY),
        Visit(person=person, reason="COUGH", day=DAY),
        Visit(person=person, reason="cough", day=date(2026, 1, 2)),
        Visit(person=person, reason="cough", day=None),
        Visit(person=person, reason="cough", day=None),
        Visit(person=person, reason="fever", day=DAY),
    )  # fmt: skip
    of_constraint = {each for each in found("tests.visit.reason_index") if each[0]}
    assert of_constraint == {("one_reason_a_day", first, second)}
    with pytest.raises(CommandError, match="same normal form"):
        call_command("rebuild_indexes", "tests.visit.reason_index", dry_run=True)
    out = capsys.readouterr().out
    assert f"{first} and {second} collide by 'one_reason_a_day'" in out
    assert "ough" not in out
    with pytest.raises(CommandError):
        call_command("rebuild_indexes", "tests.visit.reason_index", dry_run=True, json=True)
    [content] = json.loads(capsys.readouterr().out)["indexes"]
    assert content["values"] == 6
    assert "one_reason_a_day" in {each["constraint"] for each in content["collisions"]}


def test_with_a_condition():
    first, second, *_ = as_old_build(
        "tests_account", "name_index",
        Account(name="ada"), Account(name="Ada"), Account(name="ADA", active=False),
    )  # fmt: skip
    of_constraint = {each for each in found("tests.account.name_index") if each[0]}
    is_made = connection.features.supports_partial_indexes
    assert of_constraint == ({("one_is_active", first, second)} if is_made else set())


def test_within_a_scope():
    ours, theirs = Tenant.objects.create(name="ours"), Tenant.objects.create(name="theirs")
    rows = as_old_build(
        "tests_member", "email_index",
        Member(tenant=ours, email="ada@example.org"),
        Member(tenant=ours, email="ADA@example.org"),
        Member(tenant=theirs, email="ada@example.org"),
    )  # fmt: skip
    [(constraint, *pair)] = found("tests.member.email_index")
    assert constraint == ""
    assert set(pair) == set(rows[:2])
