"""From the bytes in a column to a value, or to an error that says where and what.

No exception that leaves here holds a plaintext: neither itself, nor one that it is chained to,
nor a variable of a frame that it passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import envelope, format
from envelope_fields.exceptions import DecryptionFailed, EnvelopeError, KeyAccessDenied
from envelope_fields.fields.errors import named
from envelope_fields.fields.masks import Mask
from envelope_fields.keyring import unwrapping_key

Reader = Callable[[Any, Any, Any], Any]

_derivation = slice(format.DERIVATION_BYTES)


def reader(field: Any, unwrapping_key: Callable[..., AESGCM] = unwrapping_key) -> Reader:
    """Return the converter of a field's column, which every value that is loaded passes.

    Args:
        field: the field.
        unwrapping_key: what asks the keyring.
    """
    context, decrypt, from_plaintext = field.contexts[0], envelope.decrypt, field.from_plaintext
    place, masks = field.place, field.masks

    def read(value: Any, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            key = unwrapping_key(value[_derivation], place)
        except (EnvelopeError, TypeError) as error:
            if masks and isinstance(error, KeyAccessDenied):
                return Mask(place, value)
            raise _without_key(field, value, error) from error
        try:
            return from_plaintext(decrypt(key, value, context))
        except Exception:  # noqa: S110 - whatever it was, it is met again and named
            pass
        # Outside of `except`: what was raised there may hold the plaintext.
        return _read_slowly(field, key, value)

    return read


def _read_slowly(field: Any, key: AESGCM, value: bytes) -> Any:
    """Read a value under each of the field's contexts, or say what is wrong with it."""
    try:
        version_id = format.parse(value).version_id.hex()
        result, failure = _decode(field, _open(field, key, value))
    except EnvelopeError as error:
        raise named(field, error) from error
    if failure:
        raise DecryptionFailed(
            f"{field}: the value under key version {version_id} was decrypted and is not what "
            f"this field stores ({failure}). Was it written by a field of another type?"
        )
    return result


def _open(field: Any, key: AESGCM, value: bytes) -> bytes:
    cause: DecryptionFailed
    for context in field.contexts:
        try:
            return envelope.decrypt(key, value, context)
        except envelope.UnwrapFailed as error:
            cause = error
        except DecryptionFailed as error:
            cause = error
            break
    renamed = ""
    if isinstance(cause, envelope.UnwrapFailed):
        renamed = " If the field was renamed, name its earlier label in previous_contexts=."
    raise DecryptionFailed(
        f"the value under key version {format.parse(value).version_id.hex()} cannot be decrypted "
        f"({type(cause).__name__}): {cause}.{renamed}"
    )


def _decode(field: Any, plaintext: bytes) -> tuple[Any, str]:
    """Return the value, or the name of the error that making it raised."""
    try:
        return field.from_plaintext(plaintext), ""
    except Exception as error:  # a decoder may raise anything, with the plaintext in it
        return None, type(error).__name__


def _without_key(field: Any, value: Any, error: Exception) -> Exception:
    """Return the error for a stored value whose key was not found, or that is no envelope."""
    try:
        format.parse(value)
    except EnvelopeError as malformed:
        return named(field, malformed)
    return named(field, error) if isinstance(error, EnvelopeError) else error
