"""The registry of operations: what it names is there."""

import pytest
from django.contrib.auth.models import Permission
from django.core.management import get_commands
from django.urls import reverse

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import in_words
from envelope_fields.policy import Action

pytestmark = pytest.mark.any_database

ON_KEYS = [operation for operation in Operation if operation.transitions and operation.codename]


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("operation", [each for each in Operation if each.codename])
def test_permissions(operation):
    assert Permission.objects.filter(
        content_type__app_label="envelope_fields", codename=operation.codename
    ).exists()


@pytest.mark.parametrize("operation", [each for each in Operation if each.command])
def test_commands(operation):
    assert get_commands().get(operation.command) == "envelope_fields"


@pytest.mark.parametrize("operation", [each for each in ON_KEYS if each.segment])
def test_addresses(operation):
    kwargs = {"id": "alias:tenant"}
    assert reverse(f"v1:key-{operation.segment}", kwargs=kwargs).endswith(f"/{operation.segment}/")
    if operation.of_versions:
        assert reverse(f"v1:version-{operation.segment}", kwargs={**kwargs, "number": 1})


@pytest.mark.parametrize("operation", ON_KEYS)
def test_each_is_done_by_a_function(operation):
    assert callable(operation.perform)
    assert operation.description.endswith(".")
    assert operation.past


def test_words():
    for name in (*Operation, *Action):
        assert in_words(name) == str(name.label)
    assert in_words("of_another_release") == "of another release"
