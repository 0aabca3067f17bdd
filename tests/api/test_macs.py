"""MACs over HTTP."""

import base64

import pytest

from envelope_fields import kms
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import KeyUsage
from tests.api import url, wrong_fields

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

MESSAGE = base64.b64encode(b"message").decode()


@pytest.fixture
def mac_key(olga):
    return create_master_key("documents", usage=KeyUsage.GENERATE_VERIFY_MAC, actor=olga)


def call(client, name, **content):
    given = {"key": "alias:documents", "message": MESSAGE, "context": {"file": "1"}, **content}
    response = client.post(url("data", name), given)
    assert response["Cache-Control"] == "no-store"
    return response


def test_generate_and_verify(api, mac_key):
    made = call(api, "generate-mac").json()
    assert set(made) == {"key_id", "mac"}
    assert made["key_id"] == str(mac_key.pk)
    assert kms.verify_mac(mac_key, b"message", base64.b64decode(made["mac"]), {"file": "1"})
    verified = call(api, "verify-mac", mac=made["mac"])
    assert verified.json() == {"key_id": str(mac_key.pk), "valid": True}
    assert not call(api, "verify-mac", mac=made["mac"], context={}).json()["valid"]
    assert not call(api, "verify-mac", mac="eA==").json()["valid"]


def test_a_key_that_makes_none(api, key):
    assert call(api, "generate-mac", key="alias:tenant").status_code == 409


def test_bad_input(api, mac_key):
    assert wrong_fields(call(api, "generate-mac", message="x")) == {"message"}
    assert wrong_fields(call(api, "verify-mac")) == {"mac"}
    assert wrong_fields(call(api, "verify-mac", mac=base64.b64encode(bytes(33)).decode())) == {
        "mac"
    }


def test_without_a_grant(client_of, rita, mac_key):
    assert call(client_of(rita), "generate-mac").status_code in (403, 404)
