"""Formsets whose objects would have the same in a unique index."""

import datetime
import inspect
from functools import wraps

import pytest
from django.forms import inlineformset_factory, modelformset_factory
from django.forms.models import BaseModelFormSet

from envelope_fields.fields.index import model_options
from tests.models.indexed import Citizen, Doctor, Member, Person, Tenant, Visit

A, OTHER_A, B = "Ada@Example.org", "ada@EXAMPLE.org", "ben@example.org"
DAY = datetime.date(2026, 1, 1)
BELOW = "Please correct the duplicate values below."


def posted(prefix, *rows, initial=0):
    data = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        data |= {f"{prefix}-{number}-{name}": value for name, value in row.items()}
    return data


def formset(model, fields, *rows, queryset=None, **options):
    made = modelformset_factory(model, fields=fields, **options)
    there = model._default_manager.none() if queryset is None else queryset
    return made(posted("form", *rows, initial=len(there)), queryset=there)


def emails(*values, model=Person):
    return formset(model, ["email"], *({"email": value} for value in values))


@pytest.mark.parametrize("model", [Person, Doctor])
@pytest.mark.parametrize("second", [A, OTHER_A])
def test_the_same_normal_form_twice(model, second):
    forms = emails(A, second, B, model=model)
    assert not forms.is_valid()
    assert forms.non_form_errors() == ["Please correct the duplicate data for email."]
    assert [each.get("__all__") for each in forms.errors] == [None, [BELOW], None]
    assert "email" not in forms.forms[1].cleaned_data


def test_each_one_that_is_the_same():
    forms = emails(A, OTHER_A, "ADA@example.org")
    assert not forms.is_valid()
    assert [bool(each) for each in forms.errors] == [False, True, True]


def test_what_differs():
    forms = emails(A, B, "", "")
    assert forms.is_valid(), forms.errors
    forms.save()
    assert Person.objects.count() == 2  # those without a value were not changed


def test_forms_that_are_deleted():
    ada = Person.objects.create(email=A)
    rows = {"id": ada.pk, "email": A, "DELETE": "on"}, {"email": B}, {"email": "BEN@example.org"}
    forms = formset(Person, ["email"], *rows, queryset=Person.objects.all(), can_delete=True)
    assert not forms.is_valid()
    forms = formset(Person, ["email"], *rows[:2], queryset=Person.objects.all(), can_delete=True)
    assert forms.is_valid(), forms.errors


def test_forms_without_the_field():
    assert formset(Person, ["name"], {"name": "x"}, {"name": "x"}).is_valid()


def test_a_form_that_is_not_valid():
    forms = emails(A, "no address", OTHER_A)
    assert not forms.is_valid()
    assert [list(each) for each in forms.errors] == [[], ["email"], ["__all__"]]


def test_several_columns():
    person = Person.objects.create()
    row = {"person": person.pk, "day": DAY, "reason": "Fever"}
    same, other, none = {**row, "reason": "FEVER"}, {**row, "reason": "cough"}, {**row, "day": ""}
    fields = ["person", "day", "reason"]
    assert formset(Visit, fields, row, other, none, none).is_valid()
    forms = formset(Visit, fields, row, same)
    assert not forms.is_valid()
    assert forms.non_form_errors() == [
        "Please correct the duplicate data for day and reason, which must be unique."
    ]


def test_what_is_not_unique():
    row = {"last_name": "Lovelace"}
    assert formset(Citizen, ["last_name"], row, row).is_valid()


def members(tenant, *values):
    made = inlineformset_factory(Tenant, Member, fields=["name", "email"], extra=2)
    rows = ({"name": str(number), "email": value} for number, value in enumerate(values))
    return made(posted("member_set", *rows), instance=tenant)


@pytest.mark.parametrize("is_saved", [True, False])
def test_within_a_scope(is_saved):
    tenant = Tenant.objects.create(name="one") if is_saved else Tenant(name="one")
    assert members(tenant, A, B).is_valid()
    forms = members(tenant, A, OTHER_A)
    assert not forms.is_valid()
    assert forms.non_form_errors() == ["Please correct the duplicate data for email."]


def test_in_different_scopes():
    tenants = [Tenant.objects.create(name=name) for name in ("one", "two")]
    rows = [{"tenant": tenant.pk, "email": A} for tenant in tenants]
    assert formset(Member, ["tenant", "email"], *rows).is_valid()
    forms = formset(Member, ["tenant", "email"], *rows, {**rows[0], "email": OTHER_A})
    assert [bool(each) for each in forms.errors] == [False, False, True]


def test_formsets_that_another_package_has_extended_before(monkeypatch):
    validate = inspect.unwrap(BaseModelFormSet.validate_unique)

    @wraps(validate)
    def theirs(self):
        return validate(self)

    monkeypatch.setattr(BaseModelFormSet, "validate_unique", theirs)
    model_options.register()
    assert emails(A, OTHER_A).non_form_errors() == ["Please correct the duplicate data for email."]
