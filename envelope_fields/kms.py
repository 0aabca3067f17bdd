"""The data operations of AWS KMS, for code that keeps its ciphertexts elsewhere.

Ciphertexts are envelopes, as in encrypted fields; their context is of a domain of its own, so
that neither opens the other's. Operations and their names follow the KMS API reference.
"""

import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from envelope_fields import keyring
from envelope_fields.audit import uses
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.blind_index import kms_mac_message
from envelope_fields.crypto.buffers import DataKey, random_buffer, wipe
from envelope_fields.crypto.context import kms_context
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.keyring import Purpose
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action

__all__ = [
    "DataKey",
    "decrypt",
    "encrypt",
    "generate_data_key",
    "generate_data_key_without_plaintext",
    "generate_mac",
    "re_encrypt",
    "verify_mac",
]

PLAINTEXT_LIMIT = 4096  # bytes, as in KMS Encrypt
MESSAGE_LIMIT = 4096  # bytes, as in KMS GenerateMac
MAC_BYTES = 32

_GENERATE = Purpose(Action.GENERATE_DATA_KEY, "kms")
_ENCRYPT = Purpose(Action.ENCRYPT, "kms")
_DECRYPT = Purpose(Action.DECRYPT, "kms")
_RE_ENCRYPT = Purpose(Action.RE_ENCRYPT, "kms")
_GENERATE_MAC = Purpose(Action.GENERATE_MAC, "kms")
_VERIFY_MAC = Purpose(Action.VERIFY_MAC, "kms")

Key = MasterKey | UUID | str
EncryptionContext = Mapping[str, str]


def generate_data_key(key: Key, context: EncryptionContext) -> DataKey:
    """Return a new data key, in plaintext and encrypted (KMS: GenerateDataKey).

    Args:
        key: a master key, its id or its alias.
        context: what `decrypt` must be given again, in clear; text to text.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: the key cannot be used.
        TypeError: the context is not text to text, or the key neither a key nor a name of one.
        ValueError: the context has lone surrogates.
    """
    plaintext = random_buffer(layout.DATA_KEY_BYTES)
    try:
        return DataKey(plaintext, _encrypt(key, plaintext, context, _GENERATE))
    except BaseException:
        wipe(plaintext)
        raise


def generate_data_key_without_plaintext(key: Key, context: EncryptionContext) -> bytes:
    """Return a new data key only encrypted, 129 bytes (KMS: GenerateDataKeyWithoutPlaintext).

    Arguments and errors are those of `generate_data_key`.
    """
    with generate_data_key(key, context) as data_key:
        return data_key.ciphertext


def encrypt(key: Key, plaintext: bytes, context: EncryptionContext) -> bytes:
    """Return an envelope of `plaintext`, 97 bytes longer (KMS: Encrypt).

    Args:
        key: a master key, its id or its alias.
        plaintext: at most 4,096 bytes; larger data takes a data key of `generate_data_key`.
        context: what `decrypt` must be given again, in clear; text to text.

    Raises:
        ValueError: the plaintext is longer, or the context has lone surrogates.
        TypeError: the plaintext is not bytes, the context not text to text, or the key neither a
            key nor a name of one.
        MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: the key cannot be used.
    """
    try:
        otherwise = "encrypt it with a data key of generate_data_key()"
        _check(plaintext, "plaintext", PLAINTEXT_LIMIT, otherwise)
        return _encrypt(key, plaintext, context, _ENCRYPT)
    except BaseException:
        del plaintext  # error reports show the variables of each frame
        raise


def decrypt(ciphertext: bytes, context: EncryptionContext, key: Key | None = None) -> bytes:
    """Return the plaintext of what this module encrypted (KMS: Decrypt).

    Args:
        ciphertext: an envelope; it names its key version.
        context: the one that it was encrypted with.
        key: the master key that it must be under; None accepts any.

    Raises:
        MalformedEnvelope: not an envelope.
        DecryptionFailed: altered, of another context, or (KMS: IncorrectKeyException) under
            another key than `key`.
        MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: its key cannot be used.
        TypeError: the context is not text to text.
        ValueError: the context has lone surrogates.
    """
    return _decrypt(ciphertext, context, key, _DECRYPT)


def re_encrypt(
    ciphertext: bytes,
    context: EncryptionContext,
    destination_key: Key,
    destination_context: EncryptionContext | None = None,
    key: Key | None = None,
) -> bytes:
    """Return the same plaintext under another key or context (KMS: ReEncrypt).

    Args:
        ciphertext, context, key: as for `decrypt`.
        destination_key: the master key to encrypt under.
        destination_context: the context to encrypt with; None keeps `context`.

    Raises:
        As `decrypt` and `encrypt` do.
    """
    bound_to = context if destination_context is None else destination_context
    plaintext = bytearray(_decrypt(ciphertext, context, key, _RE_ENCRYPT))
    try:
        return _encrypt(destination_key, plaintext, bound_to, _RE_ENCRYPT)
    finally:
        plaintext[:] = bytes(len(plaintext))


def generate_mac(key: Key, message: bytes, context: EncryptionContext) -> bytes:
    """Return HMAC-SHA-256 of a message, 32 bytes (KMS: GenerateMac).

    It is of a domain of its own: no blind index, envelope or audit event has the same.

    Args:
        key: a master key of the usage `generate_verify_mac`, its id or its alias.
        message: at most 4,096 bytes; of larger data, its digest.
        context: what `verify_mac` must be given again; text to text.

    Raises:
        ValueError: the message is longer, or the context has lone surrogates.
        TypeError: the message is not bytes, or the context not text to text.
        MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: the key cannot be used.
    """
    try:
        made_over = _mac_message(message, context)
        return keyring.macs.generate_mac(_GENERATE_MAC, _name(key), made_over, uses.record)
    except BaseException:
        message = made_over = b""  # error reports show the variables of each frame
        raise


def verify_mac(key: Key, message: bytes, mac: bytes, context: EncryptionContext) -> bool:
    """Whether bytes are what `generate_mac` made of a message (KMS: VerifyMac).

    By any version of the key that is enabled: a MAC does not name the one that made it.

    Args:
        key, message, context: as for `generate_mac`, whose errors it raises.
        mac: the bytes; of another length than 32 they are not a MAC.
    """
    try:
        made_over = _mac_message(message, context)
        _check(mac, "mac")
        return keyring.macs.verify_mac(_VERIFY_MAC, _name(key), made_over, bytes(mac), uses.record)
    except BaseException:
        message = made_over = b""
        raise


def _mac_message(message: Any, context: EncryptionContext) -> bytes:
    try:
        bound_to = _context(context)
        _check(message, "message", MESSAGE_LIMIT, "give its digest")
        return kms_mac_message(bound_to, bytes(message))
    except BaseException:
        del message
        raise


def _decrypt(
    ciphertext: bytes, context: EncryptionContext, key: Key | None, purpose: Purpose
) -> bytes:
    bound_to = _context(context)
    version_id = layout.parse(ciphertext).version_id
    if key is not None:
        _require_key(version_id, key)
    try:
        return keyring.values.decrypt_for(purpose, ciphertext, (bound_to,), record=uses.record)
    except DecryptionFailed as failure:
        cause = str(failure)
    raise DecryptionFailed(
        f"The ciphertext under key version {version_id.hex()} cannot be decrypted: {cause}, "
        "or encrypted with another context."
    )


def _check(data: Any, name: str, limit: int = sys.maxsize, otherwise: str = "") -> None:
    is_bytes, kind = isinstance(data, bytes | bytearray | memoryview), type(data).__name__
    if is_bytes and memoryview(data).nbytes <= limit:
        return
    del data
    if is_bytes:
        raise ValueError(f"{name} is longer than {limit} bytes; {otherwise}")
    raise TypeError(f"{name} is {kind}, not bytes")


def _encrypt(
    key: Key,
    plaintext: bytes | bytearray | memoryview,
    context: EncryptionContext,
    purpose: Purpose,
) -> bytes:
    try:
        bound_to = _context(context)
        return keyring.values.encrypt_for(purpose, _name(key), plaintext, bound_to, uses.record)
    except BaseException:
        del plaintext
        raise


def _require_key(version_id: bytes, key: Key) -> None:
    version = keyring.version_of(version_id)
    if _name(key) not in (version.key_id, version.alias):
        raise DecryptionFailed(
            f"The ciphertext is under {version}, not under the master key {key} that was asked for."
        )


def _name(key: Key) -> str | UUID:
    # None would name every key that has no alias any more.
    name = key.id if isinstance(key, MasterKey) else key
    if isinstance(name, str | UUID):
        return name
    raise TypeError(f"{type(key).__name__} is not a master key, nor the id or alias of one")


def _context(context: Any) -> bytes:
    if not isinstance(context, Mapping) or not all(
        isinstance(text, str) for pair in context.items() for text in pair
    ):
        raise TypeError("context is not a mapping of text to text")
    try:
        return kms_context(context)
    except UnicodeEncodeError:
        raise ValueError(
            "context has lone surrogates, as the name of a file that is not UTF-8 has: quote it, "
            "for example with urllib.parse.quote(os.fsencode(name))"
        ) from None
