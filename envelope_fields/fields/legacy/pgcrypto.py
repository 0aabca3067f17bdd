"""What django-pgcrypto-fields has stored: OpenPGP messages under a passphrase (RFC 4880).

PostgreSQL can open these; here it does not have to, and the key goes to no server. What its
`pgp_sym_encrypt` writes is read: a session key from the passphrase (section 3.7), encrypted data
with a modification detection code (5.13, 5.14), and literal data (5.9), compressed or not (5.6).
"""

import hmac
import zlib
from collections.abc import Iterator
from hashlib import sha1
from typing import ClassVar, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, Hash, HashAlgorithm

from envelope_fields.conf.named import as_bytes
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.fields.legacy.base import Content, LegacyFormat, NotOpened
from envelope_fields.keyring import legacy as keyring

_BLOCK: Final = 16
_AT_ONCE: Final = 2**16  # bytes that are hashed
_LARGEST: Final = 64 * 2**20  # bytes, of what is compressed
_SESSION_KEY, _ENCRYPTED, _LITERAL, _COMPRESSED, _MDC = 3, 18, 11, 8, 19
_KEY_SIZES: Final = {7: 16, 8: 24, 9: 32}  # of AES
_HASHES: Final[dict[int, type[HashAlgorithm]]] = {2: SHA1, 8: SHA256, 9: SHA384, 10: SHA512}
_WINDOW_BITS: Final = {1: -zlib.MAX_WBITS, 2: zlib.MAX_WBITS}  # ZIP and ZLIB


class Pgcrypto(LegacyFormat):
    """What django-pgcrypto-fields has stored by its fields with a symmetric key.

    Args:
        key: of the passphrase.
    """

    package: ClassVar = "django-pgcrypto-fields"
    first_byte: ClassVar = b"\xc3"

    def __init__(self, key: str = "PGCRYPTO_KEY") -> None:
        super().__init__(key=key)

    def claims(self, stored: bytes) -> bool:
        # The length of the first packet follows, in one byte; in UTF-8, `ü` goes on with another.
        return super().claims(stored) and stored[1:2] < b"\x80"

    def key_names(self) -> list[str]:
        return [str(self.setting("key").name)]

    def content(self, stored: bytes) -> Content:
        name = self.setting("key")
        passphrase = as_bytes(name.required())
        (first, session_key), (second, encrypted) = _packets(stored)
        if (first, second) != (_SESSION_KEY, _ENCRYPTED) or encrypted[:1] != b"\x01":
            raise NotOpened
        size, derivation = _KEY_SIZES[session_key[1]], session_key[:13]
        opened = keyring.used(
            self.package,
            (derivation, passphrase),
            lambda: _derived(derivation, passphrase, size),
            lambda key: _data_of(session_key[13:], key, encrypted[1:]),
        )
        return Content(_literal(opened), str(name.name))


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the body of each packet (sections 4.2 and 4.3)."""
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 0xC0 == 0xC0:
            body, at = _new_body(data, at)
            yield tag & 0x3F, body
        else:
            body, at = _old_body(data, at, tag & 3)
            yield (tag >> 2) & 0x0F, body


def _new_body(data: bytes, at: int) -> tuple[bytes, int]:
    parts, is_partial = [], True
    while is_partial:
        first, at = data[at], at + 1
        is_partial = 224 <= first < 255
        if is_partial:
            length = 1 << (first & 0x1F)
        elif first < 192:
            length = first
        elif first == 255:
            length, at = int.from_bytes(data[at : at + 4], "big"), at + 4
        else:
            length, at = ((first - 192) << 8) + data[at] + 192, at + 1
        parts.append(_cut(data, at, length))
        at += length
    return b"".join(parts), at


def _old_body(data: bytes, at: int, kind: int) -> tuple[bytes, int]:
    if kind == 3:  # until the end
        return data[at:], len(data)
    size = 1 << kind
    length, at = int.from_bytes(data[at : at + size], "big"), at + size
    return _cut(data, at, length), at + length


def _cut(data: bytes, at: int, length: int) -> bytes:
    found = data[at : at + length]
    if len(found) != length:
        raise NotOpened
    return found


def _derived(session_key: bytes, passphrase: bytes, size: int) -> KeyBuffer:
    """Return the key that a passphrase gives (section 3.7.1)."""
    version, _, kind, hash_id = session_key[:4]
    if version != 4 or kind not in (0, 1, 3):
        raise NotOpened
    salted = (session_key[4:12] if kind else b"") + passphrase
    length = len(salted)
    if kind == 3:
        count = session_key[12]
        length = max(length, (16 + (count & 15)) << ((count >> 4) + 6))
    repeated = salted * (_AT_ONCE // len(salted) + 1)
    key, number = b"", 0
    while len(key) < size:
        digest = Hash(_HASHES[hash_id]())
        digest.update(bytes(number))
        for start in range(0, length, len(repeated)):  # up to 62 MiB, by a byte that is stored
            digest.update(repeated[: length - start])
        key, number = key + digest.finalize(), number + 1
    return KeyBuffer(key[:size])


def _data_of(encrypted_key: bytes, key: KeyBuffer, encrypted: bytes) -> bytes:
    """Return what is encrypted, without its code, which has to be right (section 5.13)."""
    if encrypted_key:  # a session key of its own (section 5.3)
        found = _decrypted(encrypted_key, key)
        key = KeyBuffer(found[1:])
        if len(key) != _KEY_SIZES[found[0]]:
            raise NotOpened
    plain = _decrypted(encrypted, key)
    body, code = plain[:-22], plain[-22:]
    expected = sha1(body + b"\xd3\x14", usedforsecurity=False).digest()
    if code[:2] != b"\xd3\x14" or not hmac.compare_digest(expected, code[2:]):
        raise NotOpened
    return body[_BLOCK + 2 :]


def _decrypted(data: bytes, key: KeyBuffer) -> bytes:
    """Return what CFB with an IV of zeros has encrypted: blocks, each with the one before."""
    encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305 - of which CFB is made
    before = (bytes(_BLOCK) + data)[: -(-len(data) // _BLOCK) * _BLOCK]
    stream = encryptor.update(before) + encryptor.finalize()
    length = len(data)
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream[:length], "big")
    return mixed.to_bytes(length, "big")


def _literal(data: bytes) -> bytes:
    """Return what a literal data packet holds (section 5.9), perhaps in a compressed one."""
    ((tag, body),) = _packets(data)
    if tag == _COMPRESSED:
        expander = zlib.decompressobj(_WINDOW_BITS[body[0]])
        expanded = expander.decompress(body[1:], _LARGEST)
        if expander.unconsumed_tail or not expander.eof:
            raise NotOpened
        ((tag, body),) = _packets(expanded)
    if tag != _LITERAL:
        raise NotOpened
    return body[1 + 1 + body[1] + 4 :]
