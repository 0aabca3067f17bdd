"""Keys in a database of their own: users and groups are in another."""

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction

from envelope_fields import keyring
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.grants import grant, list_grants, revoke
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import KeyGrant
from envelope_fields.policy import acting_as
from tests.models import LabNote

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def lab(settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
    keyring.evict()
    yield create_master_key("lab")
    keyring.evict()


@pytest.fixture
def note(lab):
    return LabNote.objects.create(text="value")


def read(note, user):
    with acting_as(user):
        return LabNote.objects.using("default").get(pk=note.pk).text


def assert_denied(note, user):
    with pytest.raises(KeyAccessDenied):
        read(note, user)


def test_a_users_rights(lab, note, ann):
    made = grant(lab, ann, ["decrypt"])
    assert KeyGrant.objects.using("other").get() == made
    assert not KeyGrant.objects.using("default").exists()
    assert read(note, ann) == "value"
    assert [listed.name for listed in list_grants("lab")] == ["ann"]
    revoke(made)
    assert_denied(note, ann)


def test_a_groups_rights(lab, note, ann):
    staff = Group.objects.create(name="laboratory")
    grant(lab, staff, ["decrypt"])
    assert_denied(note, ann)
    ann.groups.add(staff)
    assert read(note, ann) == "value"
    staff.delete()
    assert_denied(note, ann)
    assert not KeyGrant.objects.using("other").exists()


def test_a_user_whose_change_is_rolled_back(lab, note, ann):
    grant(lab, ann, ["decrypt"])
    User.objects.filter(pk=ann.pk).update(is_active=False)
    keyring.forget()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        ann.save()
        assert read(note, ann) == "value"
        raise ZeroDivisionError
    assert_denied(note, ann)


def by_save(user):
    user.is_active = True
    user.save()


def by_update(user):
    User.objects.filter(pk=user.pk).update(is_active=True)


def by_sql(user):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_user SET is_active = %s WHERE id = %s", [True, user.pk])


@pytest.mark.parametrize("activate", [by_save, by_update, by_sql])
def test_a_user_whose_change_is_rolled_back_without_autocommit(activate, lab, note, ann):
    grant(lab, ann, ["decrypt"])
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert_denied(note, ann)
    transaction.set_autocommit(False)
    try:
        activate(ann)
        assert read(note, ann) == "value"
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert_denied(note, ann)
