"""Key versions for tests, and a reader that finds its key by the id, as the keyring does."""

from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import envelope, format as layout, xaes
from envelope_fields.crypto.envelope import Rewrapper, WrappingKey

MASTER_KEY = bytes(range(32))
VERSION_ID = b"version1"


@cache
def derived(prefix: bytes, master_key: bytes = MASTER_KEY) -> AESGCM:
    return xaes.derive(bytearray(master_key), prefix)


def wrapping_key(
    prefix: bytes = b"prefix of 12", version_id: bytes = VERSION_ID, master_key: bytes = MASTER_KEY
) -> WrappingKey:
    return WrappingKey(layout.header(version_id), prefix, derived(prefix, master_key))


def encrypt(plaintext: bytes, context: bytes) -> bytes:
    return envelope.encrypt(wrapping_key(), plaintext, context)


def decrypt(stored: bytes, context: bytes, master_key: bytes = MASTER_KEY) -> bytes:
    nonce = layout.parse(stored).nonce
    key = derived(nonce[: layout.NONCE_PREFIX_BYTES], master_key)
    return envelope.decrypt(key, stored, context)


def rewrap(
    unwrapping_key, stored: bytes, context: bytes, to: WrappingKey, bound_to: bytes
) -> bytes:
    with Rewrapper(to, bound_to, values=1) as rewrapper:
        return rewrapper.rewrap(unwrapping_key, stored, context)
