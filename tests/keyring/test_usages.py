"""No key serves two usages, and MACs are made under keys that are for MACs."""

import hashlib
import hmac
import json

import pytest
from django.core.management import call_command

from envelope_fields import keyring, kms
from envelope_fields.crypto.envelope import encrypt
from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.keyring import materials
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import KeyUsage, MasterKey, MasterKeyVersion
from tests.models import TenantNote

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


@pytest.fixture
def mac_key(transactional_db):
    return create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC)


@pytest.fixture
def key(transactional_db):
    return create_master_key("lab")


class TestAKeyForMacs:
    @pytest.mark.parametrize(
        "use",
        [
            lambda: TenantNote.objects.create(tenant="search", text="a"),
            lambda: kms.encrypt("search", b"value", {}),
            lambda: kms.generate_data_key("search", {}),
            lambda: keyring.values.wrapping_key("search", "default"),
        ],
    )
    def test_encrypts_nothing(self, use, mac_key):
        with pytest.raises(MasterKeyUnusable, match=r"MACs.*needed to encrypt and decrypt"):
            use()
        assert not any(each.key_id == mac_key.pk for each in materials._plaintext)

    def test_decrypts_nothing(self, mac_key):
        version_id = bytes(mac_key.current_version.version_id)
        with pytest.raises(MasterKeyUnusable, match="needed to encrypt and decrypt"):
            keyring.values.unwrapping_key(b"\x01" + version_id + bytes(12))
        with pytest.raises(MasterKeyUnusable, match="needed to encrypt and decrypt"):
            kms.decrypt(b"\x01" + version_id + bytes(120), {})

    def test_makes_macs_by_all_its_names(self, mac_key):
        version_id = bytes(mac_key.current_version.version_id)
        first = keyring.mac("search", b"message")
        assert len(first) == 32
        assert first == keyring.mac(mac_key.pk, b"message") == keyring.mac(version_id, b"message")
        assert first != keyring.mac("search", b"another message")
        [material] = [m for c, m in materials._plaintext.items() if c.key_id == mac_key.pk]
        assert first == hmac.new(material, b"message", hashlib.sha256).digest()

    def test_has_versions(self, mac_key):
        pinned = bytes(mac_key.current_version.version_id)
        before = keyring.mac("search", b"message")
        rotate_master_key(mac_key)
        assert keyring.mac("search", b"message") != before
        assert keyring.mac(pinned, b"message") == before

    def test_that_is_disabled_makes_none(self, mac_key):
        disable(mac_key)
        with pytest.raises(MasterKeyUnusable, match="disabled"):
            keyring.mac("search", b"message")


class TestAKeyForValues:
    def test_makes_no_macs(self, key):
        for name in ("lab", key.pk, bytes(key.current_version.version_id)):
            with pytest.raises(MasterKeyUnusable, match=r"encrypt.*needed to generate.*MACs"):
                keyring.mac(name, b"message")

    def test_encrypts_as_before(self, key):
        assert encrypt(keyring.values.wrapping_key("lab", "default"), b"value", b"context")


@pytest.mark.parametrize("name", ["nobody", b"12345678"])
def test_a_key_that_is_not_there(name, key):
    with pytest.raises(MasterKeyNotFound):
        keyring.mac(name, b"message")


@pytest.mark.parametrize("column", ["usage", "state"])
def test_a_word_that_this_version_does_not_know(column, key):
    """As in a database that a later version has written, or that was changed."""
    note = TenantNote.objects.create(tenant="lab", text="a value")
    MasterKey.objects.filter(pk=key.pk).update(**{column: "unheard_of"})
    keyring.evict()
    for use in (
        lambda: TenantNote.objects.get(pk=note.pk).text,
        lambda: TenantNote.objects.create(tenant="lab", text="another"),
        lambda: rotate_master_key("lab"),
    ):
        with pytest.raises(MasterKeyUnusable, match=r"unheard.of"):
            use()


def test_a_key_whose_versions_are_gone(key, capsys):
    MasterKeyVersion.objects.filter(master_key=key)._raw_delete(key._state.db)
    for use in (lambda: key.current_version, lambda: rotate_master_key("lab")):
        with pytest.raises(MasterKeyNotFound, match="lab has no version in the database"):
            use()
    call_command("list_master_keys")
    assert "lab  enabled  0 versions, whose rows are gone" in capsys.readouterr().out
    call_command("list_master_keys", "--json")
    listed = {each["alias"]: each for each in json.loads(capsys.readouterr().out)}
    assert (listed["lab"]["current_version"], listed["lab"]["rotated_at"]) == (None, None)
