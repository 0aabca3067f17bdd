"""What PostgreSQL's pgcrypto writes, with each option, is read without it."""

import tracemalloc

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
    "s2k-count=3014656",
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


def test_much_work_for_a_key_takes_little_memory():
    """How much it is, a byte of the value says."""
    field = EncryptedTextField()
    field.name = "stored"
    session_key = bytes([4, 7, 3, 2, *b"any salt", 0xFF])
    encrypted = b"\x01" + bytes(60)
    packets = bytes([0xC3, len(session_key)]) + session_key
    packets += bytes([0xD2, len(encrypted)]) + encrypted
    tracemalloc.start()
    try:
        with override_settings(PGCRYPTO_KEY="pass phrase"), pytest.raises(DecryptionFailed):
            Pgcrypto().read(packets, field)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
