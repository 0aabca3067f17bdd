"""MACs of `kms`: of a domain of their own, under keys that make MACs."""

import hashlib
import hmac

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from envelope_fields import kms
from envelope_fields.crypto.blind_index import value_part
from envelope_fields.crypto.context import encode, kms_context
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.fields.index import macs
from envelope_fields.keyring import materials
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import KeyUsage, MasterKeyVersion
from envelope_fields.policy import acting_as
from tests.keyring.indexed import index, term

pytestmark = pytest.mark.django_db

FILE = {"file": "scan-17"}


@pytest.fixture
def key(transactional_db):
    return create_master_key("documents", usage=KeyUsage.GENERATE_VERIFY_MAC)


def made(message=b"message", context=FILE, key="documents"):
    return kms.generate_mac(key, message, context)


def is_valid(mac, message=b"message", context=FILE, key="documents"):
    return kms.verify_mac(key, message, mac, context)


def test_the_bytes(key):
    found = made()
    assert len(found) == 32
    message = encode([b"kms-mac", kms_context(FILE), b"message"])
    [material] = [m for c, m in materials._plaintext.items() if c.key_id == key.pk]
    assert found == hmac.new(material, message, hashlib.sha256).digest()


def test_by_all_names(key):
    assert made() == made(key=key) == made(key=key.pk)
    assert is_valid(made(), key=key)


def test_what_it_is_valid_for(key):
    found = made()
    assert is_valid(found) is True
    assert is_valid(found, b"massage") is False
    assert is_valid(found, context={}) is False
    assert is_valid(found[:-1]) is False
    assert is_valid(b"") is False
    other = create_master_key("others", usage=KeyUsage.GENERATE_VERIFY_MAC)
    assert is_valid(found, key=other) is False


def test_after_a_rotation(key):
    before = made()
    rotate_master_key(key)
    assert made() != before
    assert is_valid(before)
    assert is_valid(made())
    disable(MasterKeyVersion.objects.get(master_key=key, number=1))
    assert not is_valid(before)
    assert is_valid(made())


def test_it_is_no_oracle_for_an_index(key):
    """Whatever message is given, none makes what an index under the same key stores."""
    card = index(key="documents")
    stored = macs.index_value(card, "documents", term(b"ada"), "default")
    message = card.domain.encode() + value_part([b"ada"])
    for context in ({}, FILE, {"index-v1": "field"}):
        assert made(message, context)[:16] != stored[:16]


@pytest.mark.parametrize("use", [made, lambda **given: is_valid(bytes(32), **given)])
class TestRefused:
    def test_a_key_of_another_usage(self, use, key):
        create_master_key("billing")
        with pytest.raises(MasterKeyUnusable, match="needed to generate and verify MACs"):
            use(key="billing")

    def test_no_key(self, use, key):
        with pytest.raises(MasterKeyNotFound):
            use(key="nothing")

    def test_a_disabled_key(self, use, key):
        disable(key)
        with pytest.raises(MasterKeyUnusable, match="disabled"):
            use()

    def test_a_user_without_a_grant(self, use, key):
        with acting_as(User.objects.create(username="ben")), pytest.raises(KeyAccessDenied):
            use()

    def test_input(self, use, key):
        with pytest.raises(ValueError, match="longer than 4096 bytes"):
            use(message=bytes(4097))
        with pytest.raises(TypeError, match="message is str, not bytes"):
            use(message="text")
        with pytest.raises(TypeError, match="not a mapping of text to text"):
            use(context={"a": 1})
        use(message=bytes(4096))
        use(message=b"")


def test_each_action_takes_its_own_grant(key):
    ben = User.objects.create(username="ben")
    key.grants.create(principal_type="auth.user", principal_id=ben.pk, actions=["verify_mac"])
    found = made()
    with acting_as(ben):
        assert is_valid(found)
        with pytest.raises(KeyAccessDenied, match="may not generate_mac"):
            made()


def test_a_key_that_could_vanish(key):
    with transaction.atomic():
        rotate_master_key(key)
        with pytest.raises(MasterKeyUnusable, match="not committed"):
            made()


@pytest.mark.parametrize("mac", [32, "a" * 32, None], ids=["number", "text", "none"])
def test_a_mac_is_bytes(key, mac):
    with pytest.raises(TypeError, match=r"mac is .*, not bytes"):
        is_valid(mac)
