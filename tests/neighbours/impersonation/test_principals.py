"""Whose values a page shows while one user acts as another, and after."""

import pytest
from django.contrib.auth.models import User

from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from tests.neighbours.impersonation.models import Note

pytestmark = pytest.mark.django_db
DOTS = "••••••••"


@pytest.fixture
def doctor():
    return User.objects.create_user("doctor", is_staff=True, is_superuser=True)


@pytest.fixture
def clerk():
    return User.objects.create_user("clerk")


@pytest.fixture(autouse=True)
def note(doctor):
    grant(create_master_key("doctors"), doctor, ["decrypt"])
    return Note.objects.create(text="the value")


def hijack(client, user):
    client.post("/hijack/acquire/", {"user_pk": user.pk, "next": "/text/"})


def leave_hijack(client):
    client.post("/hijack/release/", {"next": "/text/"})


def impersonate(client, user):
    client.get(f"/impersonate/{user.pk}/")


def leave_impersonate(client):
    client.get("/impersonate/stop/")


def text(client):
    return client.get("/text/").content.decode()


@pytest.mark.parametrize(
    ("begin", "end"), [(hijack, leave_hijack), (impersonate, leave_impersonate)]
)
def test_values_open_for_the_one_whom_a_user_acts_as(begin, end, client, doctor, clerk):
    client.force_login(doctor)
    assert text(client) == "the value"
    begin(client, clerk)
    assert text(client) == DOTS
    end(client)
    assert text(client) == "the value"


@pytest.mark.parametrize("begin", [hijack, impersonate])
def test_an_administrator_reads_what_the_other_may(begin, client, doctor):
    client.force_login(User.objects.create_superuser("admin"))
    assert text(client) == DOTS
    doctor.is_superuser = False
    doctor.save()
    begin(client, doctor)
    assert text(client) == "the value"
