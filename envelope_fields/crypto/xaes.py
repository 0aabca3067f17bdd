"""XAES-256-GCM: AES-256-GCM under a key derived for each 96-bit nonce prefix.

Specified by C2SP (c2sp.org/XAES-256-GCM). The derivation is KBKDF in counter mode with
AES-CMAC (NIST SP 800-108r1, section 4.1), which `cryptography` has; nothing is invented here.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from envelope_fields.crypto.buffers import Buffer, wiped
from envelope_fields.crypto.format import NONCE_PREFIX_BYTES

KEY_BYTES = 32
_LABEL = b"X\x00"  # the label "X" and the zero byte that ends it, SP 800-108
_KNOWN_ANSWER = bytes.fromhex("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271")


def derive(key: Buffer, prefix: bytes) -> AESGCM:
    """Return AES-256-GCM under the key derived from `key` (32 bytes) for a nonce prefix.

    The prefix is the first 12 bytes of a 24-byte nonce; the other 12 are the nonce of what is
    returned.
    """
    kdf = KBKDFCMAC(
        AES,
        Mode.CounterMode,
        length=KEY_BYTES,
        rlen=2,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        fixed=_LABEL + prefix,
    )
    with wiped(KEY_BYTES) as derived:
        kdf.derive_into(key, derived)
        return AESGCM(derived)


def seal(key: Buffer, nonce: bytes, plaintext: Buffer, additional_data: bytes) -> bytes:
    """Return the ciphertext of `plaintext` and its 16-byte tag, under a 24-byte nonce."""
    aead = derive(key, nonce[:NONCE_PREFIX_BYTES])
    return aead.encrypt(nonce[NONCE_PREFIX_BYTES:], plaintext, additional_data)


def open_into(
    key: Buffer, nonce: bytes, ciphertext: bytes, additional_data: bytes, plaintext: Buffer
) -> None:
    """Write the plaintext of `ciphertext` into a buffer of its exact length.

    Raises:
        cryptography.exceptions.InvalidTag: key, nonce, ciphertext or additional data are wrong.
            The buffer then holds unverified bytes, which the caller wipes.
    """
    aead = derive(key, nonce[:NONCE_PREFIX_BYTES])
    aead.decrypt_into(nonce[NONCE_PREFIX_BYTES:], ciphertext, additional_data, plaintext)


def _check_known_answer() -> None:
    """Refuse a build of `cryptography` that does not give C2SP's first test vector.

    Where it is built against OpenSSL before 3.2, AESGCM may refer to its key instead of copying
    it: the key would be what `derive` leaves in the buffer, zeros.
    """
    key, nonce = bytearray(b"\x01" * KEY_BYTES), b"ABCDEFGHIJKLMNOPQRSTUVWX"
    if seal(key, nonce, bytearray(b"XAES-256-GCM"), b"") != _KNOWN_ANSWER:
        raise ImportError(
            "this build of the package cryptography does not keep a copy of AES-GCM keys. Install "
            "its wheel from PyPI, or build it against OpenSSL 3.2 or later"
        )


_check_known_answer()
