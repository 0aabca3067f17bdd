"""Aliases of tenants: no two tenants ever share one."""

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db.migrations.writer import MigrationWriter
from hypothesis import given, strategies as st

from envelope_fields.models import MasterKey
from envelope_fields.tenants import AliasTemplate, TenantKey

VALUES = st.one_of(st.integers(), st.uuids(), st.text(min_size=1))


def alias(template, **values):
    try:
        return AliasTemplate(template).alias(values)
    except ValueError as error:
        assert "longer" in str(error) or "UTF-8" in str(error)  # noqa: PT017 - else it holds
        return None


@given(VALUES, VALUES)
def test_two_values_have_two_aliases_case_aside(one, other):
    first, second = alias("a/{x}", x=one), alias("a/{x}", x=other)
    if first and second and str(one) != str(other):
        assert first.lower() != second.lower()


@given(VALUES, VALUES, VALUES, VALUES)
def test_so_have_two_pairs(a, b, c, d):
    first, second = alias("t/{x}/{y}", x=a, y=b), alias("t/{x}/{y}", x=c, y=d)
    if first and second and (str(a), str(b)) != (str(c), str(d)):
        assert first.lower() != second.lower()


@given(VALUES)
def test_each_is_an_alias_that_a_key_can_have(value):
    found = alias("clinic/{x}", x=value)
    if found:
        MasterKey._meta.get_field("alias").clean(found, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "clinic/7"),
        (-7, "clinic/-7"),
        ("north", "clinic/north"),
        ("North", "clinic/:4eorth"),
        ("a/b", "clinic/a:2fb"),
        ("ä", "clinic/:c3:a4"),
        (uuid.UUID(int=1), "clinic/00000000-0000-0000-0000-000000000001"),
    ],
)
def test_what_they_look_like(value, expected):
    assert alias("clinic/{x}", x=value) == expected


@pytest.mark.parametrize("value", [None, "", True, 1.5, b"a", object()])
def test_what_names_no_tenant(value):
    with pytest.raises((TypeError, ValueError), match="x is"):
        AliasTemplate("clinic/{x}").alias({"x": value})


@pytest.mark.parametrize(
    "template",
    ["", "clinic", "{x}", "clinic/{x}{y}", "clinic/a{x}", "clinic/{x", "a b/{x}", "/{x}", "a//{x}"],
)
def test_what_is_no_template(template):
    with pytest.raises(ValueError, match="template"):
        TenantKey(template)


def test_a_template_is_text():
    with pytest.raises(ValueError, match="5 is not a template"):
        TenantKey(5)


def test_migrations_can_write_it():
    key = TenantKey("clinic/{clinic_id}", managed_by="customer", rotation_period=90)
    text, imports = MigrationWriter.serialize(key)
    names = {}
    exec("\n".join(imports), names)
    assert eval(text, names) == key
    assert key != TenantKey("clinic/{clinic_id}")
    assert hash(key) == hash(eval(text, names))


def test_its_alias_can_be_asked_for():
    assert TenantKey("clinic/{clinic_id}").alias(clinic_id=7) == "clinic/7"
    with pytest.raises(TypeError, match="clinic_id"):
        TenantKey("clinic/{clinic_id}").alias(clinic=7)


def test_too_long():
    with pytest.raises(ValueError, match="longer than 200"):
        TenantKey("clinic/{x}").alias(x="ä" * 100)
    MasterKey(alias=TenantKey("c/{x}").alias(x="a" * 198)).clean_fields()
    with pytest.raises(ValidationError):
        MasterKey(alias="a" * 201).clean_fields()
