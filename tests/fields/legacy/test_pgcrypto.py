"""What PostgreSQL's pgcrypto writes, with each option, is read without it."""

import pytest
from django.db import connection
from django.test import override_settings

from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.legacy import Pgcrypto

OPTIONS = [
    "",
    "compress-algo=1",
    "compress-algo=2, compress-level=9",
    "cipher-algo=aes256",
    "cipher-algo=aes192, s2k-mode=0",
    "s2k-mode=1, s2k-digest-algo=sha256",
    "sess-key=1",
    "unicode-mode=1, convert-crlf=1",
]


@pytest.fixture
def pgcrypto(db):
    if connection.vendor != "postgresql":
        pytest.skip("an extension of PostgreSQL")
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pgcrypto")


@pytest.mark.parametrize("options", OPTIONS)
def test_message_of_the_server_is_read(pgcrypto, options):
    field = EncryptedTextField()
    field.name = "stored"
    for text in ("", "Füße", "g" * 40_000):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pgp_sym_encrypt(%s, 'pass phrase', %s)", [text, options])
            ((stored,),) = cursor.fetchall()
        with override_settings(PGCRYPTO_KEY="pass phrase"):
            assert Pgcrypto().read(stored, field).value == text
        altered = bytes(stored[:-30]) + bytes([stored[-30] ^ 1]) + bytes(stored[-29:])
        with override_settings(PGCRYPTO_KEY="pass phrase"), pytest.raises(DecryptionFailed):
            Pgcrypto().read(altered, field)
        with override_settings(PGCRYPTO_KEY="another"), pytest.raises(DecryptionFailed):
            Pgcrypto().read(stored, field)
