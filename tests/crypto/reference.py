"""The specification once more, from single AES blocks up: what the package is compared with.

AES of one block comes from `cryptography`; CMAC, the derivation, GCM and the envelope are done
by hand, after SP 800-38B, C2SP, SP 800-38D and docs/spec/envelope-v1.md. Slow, and for tests alone.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

BLOCK = 16
GHASH_POLYNOMIAL = 0xE1 << 120


class BadTag(Exception):
    pass


def aes(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(AES(key), ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def cmac_subkeys(key: bytes) -> tuple[bytes, bytes]:
    """Return L and K1 of AES-CMAC; K2 is not needed for messages of whole blocks."""
    zero = aes(key, bytes(BLOCK))
    shifted = int.from_bytes(zero, "big") << 1
    if shifted >> 128:
        shifted = shifted & (1 << 128) - 1 ^ 0x87
    return zero, shifted.to_bytes(BLOCK, "big")


def derive(key: bytes, prefix: bytes) -> bytes:
    _, k1 = cmac_subkeys(key)
    blocks = (bytes([0, counter]) + b"X\x00" + prefix for counter in (1, 2))
    return b"".join(aes(key, xor(block, k1)) for block in blocks)


def ghash(subkey: int, data: bytes) -> int:
    y = 0
    for at in range(0, len(data), BLOCK):
        x, v, y = y ^ int.from_bytes(data[at : at + BLOCK], "big"), subkey, 0
        for bit in range(127, -1, -1):
            y ^= v if x >> bit & 1 else 0
            v = v >> 1 ^ (GHASH_POLYNOMIAL if v & 1 else 0)
    return y


def gcm(key: bytes, nonce: bytes, text: bytes, additional_data: bytes) -> tuple[bytes, bytes]:
    """Return the keystream applied to `text`, and what the tag of `text` as ciphertext is."""
    blocks = range(2, 2 + -(-len(text) // BLOCK))
    keystream = b"".join(aes(key, nonce + counter.to_bytes(4, "big")) for counter in blocks)
    lengths = b"".join((8 * len(part)).to_bytes(8, "big") for part in (additional_data, text))
    padded = (part + bytes(-len(part) % BLOCK) for part in (additional_data, text))
    hashed = ghash(int.from_bytes(aes(key, bytes(BLOCK)), "big"), b"".join(padded) + lengths)
    mask = int.from_bytes(aes(key, nonce + (1).to_bytes(4, "big")), "big")
    return xor(text, keystream[: len(text)]), (hashed ^ mask).to_bytes(BLOCK, "big")


def gcm_encrypt(key: bytes, nonce: bytes, plaintext: bytes, additional_data: bytes) -> bytes:
    ciphertext, _ = gcm(key, nonce, plaintext, additional_data)
    return ciphertext + gcm(key, nonce, ciphertext, additional_data)[1]


def gcm_decrypt(key: bytes, nonce: bytes, sealed: bytes, additional_data: bytes) -> bytes:
    plaintext, tag = gcm(key, nonce, sealed[:-BLOCK], additional_data)
    if tag != sealed[-BLOCK:]:
        raise BadTag
    return plaintext


def pae(*parts: bytes) -> bytes:
    encoded = len(parts).to_bytes(8, "little")
    for part in parts:
        encoded += len(part).to_bytes(8, "little") + part
    return encoded


def unwrap(master_key: bytes, envelope: bytes, context: bytes) -> bytes:
    """Return the data key of an envelope."""
    derived = derive(master_key, envelope[9:21])
    return gcm_decrypt(derived, envelope[21:33], envelope[33:81], envelope[:9] + context)


def encrypt(
    master_key: bytes,
    version_id: bytes,
    nonce: bytes,
    data_key: bytes,
    plaintext: bytes,
    context: bytes,
) -> bytes:
    header = b"\x01" + version_id
    derived = derive(master_key, nonce[:12])
    wrapped = gcm_encrypt(derived, nonce[12:], data_key, header + context)
    return header + nonce + wrapped + gcm_encrypt(data_key, bytes(12), plaintext, b"\x01")
