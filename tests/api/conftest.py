import pytest
from rest_framework.test import APIClient

from envelope_fields import keyring
from envelope_fields.lifecycle import create_master_key
from tests.api import reader
from tests.officers import officer


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
