"""Values that the packages themselves have stored are read as they would have read them."""

import traceback
from base64 import urlsafe_b64encode
from datetime import datetime

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.padding import PKCS7
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test import override_settings

from envelope_fields import keyring
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields import EncryptedIntegerField, EncryptedTextField, legacy
from tests.fields.legacy.stored import of_json, vectors

EVERY = vectors()
IN_CLEAR = [each for each in EVERY if "twice" in each.content]


def each_variant(found):
    seen = {(each.package, each.variant): each for each in found}
    return list(seen.values())


@pytest.mark.parametrize("vector", EVERY, ids=repr)
def test_value_is_read(vector):
    with override_settings(**vector.settings):
        found = vector.reader.read(vector.stored, vector.field)
    wanted = vector.value
    if vector.package == "django-fernet-encrypted-fields" and isinstance(wanted, dict):
        wanted = {"a": ["1", "None", "True", "x"], "b": "y"}  # the types of JSON are lost
    if isinstance(wanted, datetime) and "model-fields" in vector.package:
        # As the package reads what it stored in a database without time zones.
        wanted = wanted.replace(tzinfo=found.value.tzinfo)
    assert found.value == wanted
    assert type(found.value) is type(wanted)
    assert found.layers == 1
    assert found.key in set(vector_key_names(vector))


def vector_key_names(vector):
    with override_settings(**vector.settings):
        return vector.reader.key_names()


@pytest.mark.parametrize("vector", IN_CLEAR, ids=repr)
def test_value_that_was_encrypted_several_times_is_read_and_counted(vector):
    with override_settings(**vector.settings):
        for layers, name in [(2, "twice"), (3, "thrice")]:
            found = vector.reader.read(of_json(vector.content[name]), vector.field)
            assert (found.value, found.layers) == ("in clear", layers)
        with pytest.raises(DecryptionFailed):
            vector.reader.read(of_json(vector.content["four times"]), vector.field)


@pytest.mark.parametrize("vector", each_variant(EVERY), ids=repr)
def test_value_under_another_key_is_an_error_that_shows_nothing(vector):
    changed = {
        name: "ANOTHER SECRET OF AT LEAST 32 CHARACTERS"
        for name in vector.settings
        if name in ("SECRET_KEY", "PGCRYPTO_KEY", "MIRAGE_SECRET_KEY", "FERNET_KEYS")
    }
    if "FERNET_USE_HKDF" in vector.settings or "FIELD_ENCRYPTION_KEY" in vector.settings:
        changed = dict.fromkeys(("FERNET_KEYS", "FIELD_ENCRYPTION_KEY"), "A" * 43 + "=")
    if "FIELD_ENCRYPTION_KEYS" in vector.settings:
        changed = {"FIELD_ENCRYPTION_KEYS": ["00" * 32]}
    if "SECRET_KEY_FALLBACKS" in vector.settings:
        changed["SECRET_KEY_FALLBACKS"] = ["ANOTHER"]
    with (
        override_settings(**{**vector.settings, **changed}),
        pytest.raises(DecryptionFailed) as caught,
    ):
        vector.reader.read(vector.stored, vector.field)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert "SECRET OF" not in shown
    assert "in clear" not in shown


@pytest.mark.parametrize(
    "vector", each_variant(vectors("django-fernet-fields", "django-cryptography")), ids=repr
)
def test_altered_value_meets_one_error(vector):
    stored = bytearray(vector.stored)
    with override_settings(**vector.settings):
        messages = set()
        for at in (10, 20, len(stored) // 2, len(stored) - 5):
            altered = bytes(stored[:at]) + bytes([stored[at] ^ 1]) + bytes(stored[at + 1 :])
            with pytest.raises(DecryptionFailed) as caught:
                vector.reader.read(altered, vector.field)
            messages.add(what(caught.value))
        with pytest.raises(DecryptionFailed) as caught:  # its content is not of the field
            other = EncryptedIntegerField()
            other.name = "stored"
            vector.reader.read(vector.stored, other)
        messages.add(what(caught.value))
    assert len(messages) == 1


def test_key_is_derived_once_and_wiped_with_the_keyring(monkeypatch):
    from envelope_fields.fields.legacy import django_cryptography
    from envelope_fields.keyring import legacy as kept

    (vector,) = [
        each
        for each in vectors("django-cryptography")
        if each.variant == "secret key" and each.content["value"] == "in clear"
    ]
    keyring.evict()
    derived = []
    original = django_cryptography._derived
    monkeypatch.setattr(
        django_cryptography, "_derived", lambda *given: derived.append(1) or original(*given)
    )
    with override_settings(**vector.settings):
        for _ in range(3):
            vector.reader.read(vector.stored, vector.field)
        assert len(derived) == 1
        buffers = list(kept._keys.values())
        assert all(any(buffer) for buffer in buffers)
        keyring.evict()
        assert not any(any(buffer) for buffer in buffers)
        vector.reader.read(vector.stored, vector.field)
    assert len(derived) == 2


@pytest.mark.parametrize(
    "make",
    [
        legacy.EncryptedModelFields,
        legacy.FernetEncryptedFields,
        legacy.Pgcrypto,
        legacy.SearchableEncryptedFields,
        lambda: legacy.FernetFields(keys="NOT_SET", secret_key="NOT_SET_EITHER"),
        lambda: legacy.DjangoCryptography(key="NOT_SET", secret_key="NOT_SET_EITHER"),
        lambda: legacy.Mirage(key="NOT_SET", secret_key="NOT_SET_EITHER"),
    ],
)
def test_setting_that_is_missing_is_named(make):
    field = EncryptedTextField()
    field.name = "stored"
    stored = next(each for each in vectors("django-fernet-fields") if each.value == "in clear")
    if type(make()) in (legacy.DjangoCryptography, legacy.Pgcrypto):
        (stored, *_) = vectors(f"{make().package}")
    with pytest.raises(ImproperlyConfigured, match="is not set"):
        make().read(stored.stored, field)


def test_keys_come_from_the_environment(monkeypatch):
    vector = next(e for e in vectors("django-fernet-fields") if e.variant == "several keys")
    # The secret of the vectors has a comma in it.
    monkeypatch.setenv("THEIR_KEYS", vector.settings["FERNET_KEYS"][0])
    found = legacy.FernetFields(keys="env:THEIR_KEYS").read(vector.stored, vector.field)
    assert (found.value, found.key) == ("in clear", "env:THEIR_KEYS")


def test_nothing_of_a_reader_shows():
    reader = legacy.FernetFields(keys="FERNET_KEYS")
    assert repr(reader) == "FernetFields()"
    with pytest.raises(TypeError, match="name a setting"):
        legacy.FernetFields(keys=["a key itself"])
    for key in ("S3cret-of-fernet=", "deadbeef" * 8, "fernet_keys", "env:a-key", ""):
        with pytest.raises(TypeError, match="name a setting") as caught:
            legacy.FernetFields(keys=key)
        assert not key or key not in str(caught.value)


def test_error_of_configuration_has_no_frame_with_a_key(settings):
    settings.FERNET_KEYS, settings.FERNET_USE_HKDF = ["no key"], False
    (vector, *_) = vectors("django-fernet-fields")
    with pytest.raises(ImproperlyConfigured) as caught:
        legacy.FernetFields().read(vector.stored, vector.field)
    assert caught.value.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = [repr(value) for frame in frames[1:] for value in frame.f_locals.values()]
    assert not any("no key" in each for each in shown)


def test_text_in_quotes_that_mirage_has_stored_is_read(settings):
    settings.MIRAGE_SECRET_KEY = "m" * 40
    for text in ('"Hello", she said', '"', '"a"', '"open'):
        padder = PKCS7(128).padder()
        padded = padder.update(text.encode()) + padder.finalize()
        encryptor = Cipher(AES(urlsafe_b64encode(b"m" * 40)[:32]), ECB()).encryptor()
        token = urlsafe_b64encode(encryptor.update(padded) + encryptor.finalize())
        assert legacy.Mirage().read(token, models.TextField()).value == text


def test_keys_that_are_kept_are_few():
    from envelope_fields.keyring import legacy as kept

    keyring.evict()
    first = kept.used("test", (b"0",), lambda: KeyBuffer(b"0" * 32), lambda key: key)
    for number in range(1, kept._MOST + 5):
        secret = f"{number}".encode()
        kept.used("test", (secret,), lambda: KeyBuffer(b"k" * 32), lambda key: None)
    assert len(kept._keys) == kept._MOST
    assert not any(first)  # wiped
    keyring.evict()


def what(error):
    """Return what an error says, but for its field."""
    return str(error).partition("stored>: ")[2]


def test_key_is_derived_anew_at_the_greatest_age_of_material():
    from envelope_fields.keyring import legacy as kept

    (vector,) = [
        each
        for each in vectors("django-cryptography")
        if each.variant == "secret key" and each.content["value"] == "in clear"
    ]
    keyring.evict()
    with override_settings(**vector.settings):
        vector.reader.read(vector.stored, vector.field)
        first = list(kept._keys.values())
        for key in first:
            key.since = key.since._replace(wall=key.since.wall - 10**6)
        assert vector.reader.read(vector.stored, vector.field).value == "in clear"
    assert not any(any(key) for key in first)  # wiped, and not used longer
    assert all(any(key) for key in kept._keys.values())
