import pytest
from rest_framework.test import APIClient

from envelope_fields import keyring
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from tests.admin import officer
from tests.api import reader
from tests.api.rotations import with_worker
from tests.api.workers import Patient
from tests.models import TenantNote


@pytest.fixture
def key(db):
    keyring.evict()
    return create_master_key("tenant", description="Of a tenant", rotation_period=90)


@pytest.fixture
def olga(key):
    """An officer with all rights on the key."""
    return officer("olga", key=key)


@pytest.fixture
def rita(key):
    """A reader."""
    return reader("rita", key=key)


@pytest.fixture
def client_of():
    def client_of(user):
        client = APIClient()
        client.default_format = "json"
        client.force_login(user)
        return client

    return client_of


@pytest.fixture
def api(client_of, olga):
    """A client of the officer."""
    return client_of(olga)


@pytest.fixture
def worker(settings):
    """A worker that is told of rotations, and begins none."""
    with_worker(settings, "Patient")
    Patient.told.clear()
    return Patient


@pytest.fixture
def notes(key):
    """Values under version 1 of the key, of which version 2 is current."""
    found = [TenantNote(tenant="tenant", text=f"{n}", data=None) for n in range(12)]
    TenantNote.objects.bulk_create(found)
    rotate_master_key(key)
    return found
