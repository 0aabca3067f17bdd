"""From the bytes in a column to a value, or to an error that says where and what.

No exception that leaves here holds a plaintext: neither itself, nor one that it is chained to,
nor a variable of a frame that it passed.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation

from envelope_fields.crypto import envelope, format
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    KeyAccessDenied,
    OpeningNeedsThread,
)
from envelope_fields.fields.errors import named
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.sealed import SealedValue, log_failure
from envelope_fields.keyring import Handle, decrypt, decrypt_sealed, load_handle
from envelope_fields.policy.principals import bound_actor

Reader = Callable[[Any, Any, Any], Any]
Decrypt = Callable[[bytes, Sequence[bytes], str], bytes]

_header = slice(format.HEADER_BYTES)
_UNASKED: Any = object()


def sealer(field: Any, kind: type[SealedValue]) -> Reader:
    """Return the converter by which one query loads objects: it opens nothing, and raises nothing.

    Handles are kept for the query, so that a value costs no more than a look into a dictionary;
    and for the one who loads, who may be another by the next row.
    """
    field_path = field.field_path
    known: dict[Any, Handle | None] = {}
    loader = bound_actor()

    def seal(value: Any, expression: Any, connection: Any) -> SealedValue | None:
        nonlocal loader
        if value is None:
            return None
        if bound_actor() is not loader:
            known.clear()
            loader = bound_actor()
        header = value[_header] if type(value) is bytes else None  # SQLite stores any type
        handle = known.get(header, _UNASKED)
        if handle is _UNASKED or (
            handle is not None
            and (
                monotonic() >= handle.table.half_life
                or (handle.facts is not None and handle.facts is not handle.table.facts)
            )
        ):
            handle = known[header] = load_handle(header, field_path)
        return kind(field, value, handle)

    return seal


def opener(field: Any) -> Callable[[SealedValue], Any]:
    """Return what opens the sealed values of a field."""
    contexts, from_plaintext = field.contexts, field.from_plaintext
    field_path, masks = field.field_path, field.masks

    def open_sealed(sealed: SealedValue) -> Any:
        try:
            plaintext = decrypt_sealed(sealed.envelope, contexts, field_path, sealed.handle)
        except (EnvelopeError, TypeError) as error:
            if masks and isinstance(error, KeyAccessDenied):
                return Mask(sealed)
            raise _unopened(sealed, error) from error
        except SynchronousOnlyOperation as error:  # to know the user takes a query, too
            raise _unopened(
                sealed, OpeningNeedsThread(f"its principal is not known: {error}")
            ) from error
        except Exception as error:  # settings, a broken transaction: they are logged, too
            raise _located(sealed, error) from error.__cause__
        try:
            return from_plaintext(plaintext)
        except Exception as error:  # a decoder may raise anything, with the plaintext in it
            failure = type(error).__name__
        del plaintext
        raise _located(sealed, _not_a_value(field, sealed.envelope, failure))

    return open_sealed


def reader(field: Any, decrypt: Decrypt = decrypt) -> Reader:
    """Return the converter of a field's column where values are wanted, and not objects.

    Args:
        field: the field.
        decrypt: what asks the keyring.
    """
    contexts, from_plaintext = field.contexts, field.from_plaintext
    field_path, masks = field.field_path, field.masks

    def read(value: Any, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            plaintext = decrypt(value, contexts, field_path)
        except (EnvelopeError, TypeError) as error:
            if masks and isinstance(error, KeyAccessDenied):
                return Mask(SealedValue(field, value))
            raise _unread(field, value, error) from error
        try:
            return from_plaintext(plaintext)
        except Exception as error:  # a decoder may raise anything, with the plaintext in it
            failure = type(error).__name__
        del plaintext
        raise _not_a_value(field, value, failure)

    return read


def _unopened(sealed: SealedValue, error: Exception) -> Exception:
    """Return the error for a sealed value that a caller looked at."""
    problem = _unread(sealed.field, sealed.envelope, error)
    loaded_by = None if sealed.handle is None else sealed.handle.loaded_by
    if isinstance(error, KeyAccessDenied) and loaded_by is not None:
        return _located(sealed, problem, f" The object was loaded by {loaded_by}.")
    if isinstance(error, OpeningNeedsThread):
        name = sealed.field.name
        return _located(sealed, problem, f" Use `await obj.arefresh_from_db(fields=[{name!r}])`.")
    return _located(sealed, problem)


def _located(sealed: SealedValue, error: Exception, what: str = "") -> Exception:
    """Return an error that says in which row the value is, and log it."""
    if isinstance(error, ImproperlyConfigured):
        error = type(error)(f"{sealed.field}: {error}")
    if isinstance(error, EnvelopeError | ImproperlyConfigured):
        error = type(error)(f"{error}{what}{sealed.where()}")
    log_failure(error)
    return error


def _unread(field: Any, value: Any, error: Exception) -> Exception:
    """Return the error for a stored value that cannot be read, naming its field."""
    try:
        parsed = format.parse(value)
    except EnvelopeError as malformed:
        return named(field, malformed)
    if type(error) in (envelope.UnwrapFailed, DecryptionFailed):
        return _undecrypted(field, parsed.version_id.hex(), error)
    return named(field, error) if isinstance(error, EnvelopeError) else error


def _undecrypted(field: Any, version_id: str, cause: Exception) -> DecryptionFailed:
    renamed = ""
    if isinstance(cause, envelope.UnwrapFailed):
        renamed = " If the field was renamed, name its earlier label in previous_contexts=."
    return DecryptionFailed(
        f"{field}: the value under key version {version_id} cannot be decrypted "
        f"({type(cause).__name__}): {cause}.{renamed}"
    )


def _not_a_value(field: Any, value: bytes, failure: str) -> DecryptionFailed:
    version_id = format.parse(value).version_id.hex()
    return DecryptionFailed(
        f"{field}: the value under key version {version_id} was decrypted and is not what this "
        f"field stores ({failure}). Was it written by a field of another type?"
    )
