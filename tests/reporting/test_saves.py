"""Django's error report of whatever fails: it shows the variables of each frame, and no key."""

import base64
import html
import logging
import os

import pytest
from django.db import models, transaction
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from envelope_fields import audit, keyring, kms, lifecycle
from envelope_fields.crypto import xaes
from envelope_fields.keyring import macs, wrapping, wraps
from envelope_fields.models import MasterKey
from envelope_fields.policy import APPLICATION
from envelope_fields.root_keys.local import LocalRootKey
from tests.settings import ROOT_KEY

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]
PLAINTEXT = os.urandom(16).hex().encode()


class Injected(Exception):
    """What is raised where nobody expects it."""


SECRETS = set()  # no variable of a frame, which a report would show


def keep(secret):
    SECRETS.add(bytes(secret))
    return secret


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    """Note the plaintext of each key that is made or opened, beside the root key."""
    SECRETS.clear()
    SECRETS.update([base64.b64decode(ROOT_KEY), PLAINTEXT])
    for module, name in (
        (wraps, "random_buffer"),
        (kms, "random_buffer"),
        (wrapping, "unwrap"),
    ):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, made=original: keep(made(*given)))


def fail(*args, **kwargs):
    raise Injected


def record():
    with transaction.atomic():
        audit.record("rotate", actor=APPLICATION, using="default")


OPERATIONS = {
    "create": lambda: lifecycle.create_master_key("new"),
    "rotate": lambda: lifecycle.rotate_master_key("default"),
    "record": record,
    "data key": lambda: kms.generate_data_key("default", {}),
    "encrypt": lambda: kms.encrypt("default", b"plaintext of somebody", {}),
}
PLACES = {
    "root key wraps": (LocalRootKey, "wrap"),
    "root key opens": (LocalRootKey, "unwrap"),
    "compare": (wrapping, "compare_digest"),
    "derive": (xaes, "derive"),
    "mac": (macs, "HMAC"),
    "save": (models.Model, "save_base"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_shows_no_key(operation, place, monkeypatch, caplog):
    keyring.evict()
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(*PLACES[place], fail)
    try:
        OPERATIONS[operation]()
    except Exception as error:
        inside = error.with_traceback(error.__traceback__.tb_next)  # without our own frame
    else:
        assert (operation, place) in NEVER
        return
    reporter = ExceptionReporter(
        RequestFactory().get("/"), type(inside), inside, inside.__traceback__
    )
    report = html.unescape(reporter.get_traceback_html()) + reporter.get_traceback_text()
    report += caplog.text
    assert "Injected" in report
    for secret in SECRETS:
        # Long bytes are shown in several lines.
        for shown in (secret.hex(), base64.b64encode(secret).decode(), repr(secret[:8])[2:-1]):
            assert shown not in report
    assert MasterKey.objects.count() == 1


# These operations do not come to these places.
NEVER = {
    ("record", "derive"), ("create", "derive"), ("rotate", "derive"),
    ("data key", "mac"), ("encrypt", "mac"), ("data key", "save"), ("encrypt", "save"),
    ("data key", "compare"), ("encrypt", "compare"),
    ("data key", "root key wraps"), ("encrypt", "root key wraps"),
}  # fmt: skip
