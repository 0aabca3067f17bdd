"""Reading a column in which there are, besides envelopes, values that another package has stored.

By their form, a reader that the field declares is chosen, and no other one is tried; until the
conversion of the column is finished (law 4).
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import tzinfo
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import (
    FieldDoesNotExist,
    FieldError,
    ImproperlyConfigured,
    SynchronousOnlyOperation,
)
from django.db import connections, router

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    KeyAccessDenied,
    MalformedEnvelope,
    OpeningNeedsThread,
)
from envelope_fields.fields.defaults import is_historical
from envelope_fields.fields.errors import located, named
from envelope_fields.fields.keys import alias_for, managed_by
from envelope_fields.fields.legacy.base import LegacyFormat, LegacyValue, is_envelope
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.fields.sealed import MISSING, SealedValue
from envelope_fields.fields.validation import refusing
from envelope_fields.fields.writing import guarded
from envelope_fields.keyring import encrypt, legacy as keyring
from envelope_fields.models import DEFAULT_ALIAS

Formats = tuple[LegacyFormat, ...]
Listener = Callable[[str, str, int], None]  # the path of a field, a package, and layers

# Another package's values may be in a column beside the encrypted one, since they are not bytes as
# ours. A query reads both as one: what the other column has, with this before it, and the envelope
# where that is NULL. Every write of ours makes it NULL, so that what is in it was stored before the
# first one, or by an old build since, and is the value of the row. No envelope begins with it.
MARK: Final = b"\x00"

_listeners: list[Listener] = []


def on_read(listener: Listener) -> None:
    """Call `listener` with each value that is read: its field, the package, and its layers."""
    if listener not in _listeners:  # apps may be made ready several times
        _listeners.append(listener)


def declared(given: Any, *, beside: bool = False) -> Formats:
    """Return the readers that a field declares.

    Args:
        beside: whether what they read is in a column of its own.

    Raises:
        TypeError: something else, or a reader of values that are in another kind of column.
    """
    formats = tuple(given) if isinstance(given, Iterable) else (given,)
    for each in formats:
        if not isinstance(each, LegacyFormat):
            raise TypeError(
                "legacy= takes readers of envelope_fields.fields.legacy, such as "
                f"[FernetFields()], and not {type(each).__name__}."
            )
        if not each.shares_column and not beside:
            raise TypeError(
                f"legacy= takes no {type(each).__name__}: what {each.package} has stored is not "
                "in a column of bytes, or cannot be told from an envelope. Give the field a "
                "column of its own, and name the field of that one in converts=."
            )
    if _are_alike(formats, beside=beside):
        raise TypeError(
            "legacy= takes one reader of a format: by the form of a value, the first would be "
            "chosen for all, and another one never asked. Name all keys in one setting."
        )
    # What another reader claims by its form is never taken for plaintext.
    return tuple(sorted(formats, key=lambda each: each.package == "plaintext"))


def _are_alike(formats: Formats, *, beside: bool) -> bool:
    """Whether values of two readers cannot be told from each other."""
    if beside:
        return sum(not each.is_clear for each in formats) > 1
    return len({each.first_byte for each in formats}) < len(formats)


def of_installed(field: Any) -> Formats:
    """Return the readers of the field that a field in a migration stands for; often none."""
    if not is_historical(field.model):
        return ()
    try:
        installed: Any = apps.get_model(field.model._meta.label)._meta.get_field(field.name)
    except (LookupError, FieldDoesNotExist):
        return ()
    return getattr(installed, "legacy", ())


def marked(stored: bytes | str) -> bytes:
    """Return what another package has stored, as a query reads it; a text may be given."""
    return MARK + (stored.encode() if isinstance(stored, str) else bytes(stored))


def without_mark(field: Any, stored: bytes) -> bytes | None:
    """Return what another package has stored, of what was read for a field; None of other bytes."""
    if not field.reads_beside:
        return stored
    return stored[len(MARK) :] if stored.startswith(MARK) else None


def format_of(field: Any, stored: Any) -> LegacyFormat | None:
    """Return the reader that stored bytes are for; None where no reader claims them."""
    if isinstance(stored, str):
        stored = stored.encode(errors="replace")
    if not isinstance(stored, bytes | bytearray | memoryview):
        return None  # such as a number, which SQLite stores in any column
    raw = without_mark(field, bytes(stored))
    if raw is None:
        return None
    return next((each for each in field.legacy_formats if each.claims_of(field, raw)), None)


def opened(
    field: Any, stored: Any, *, time_zone: tzinfo | None = None, to_verify: bool = False
) -> Any:
    """Return a value that another package has stored, for the bound principal.

    Args:
        field: the encrypted field.
        stored: what its column holds, which is not an envelope.
        time_zone: of the database; None is that which the routers read the model from.
        to_verify: whether it is a look that does not count as a use of the value.

    Raises:
        MalformedEnvelope: no reader claims it, or the conversion of the column is finished.
        DecryptionFailed: its reader does not open it.
        KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable: as `keyring.legacy.admit` says.
        ImproperlyConfigured: a setting that a reader needs is missing, or not a key.
    """
    reader = format_of(field, stored)
    if reader is None:
        layout.parse(stored)
        raise MalformedEnvelope("not an envelope")  # SQLite stores text in a column of bytes
    _refuse_finished(field, reader)
    keyring.admit(_alias(field), field.field_path, to_verify=to_verify)
    found = reader.read(without_mark(field, stored), field, time_zone or _time_zone(field))
    if not to_verify:
        _note(field, reader, found)
    return found.value


def _alias(field: Any) -> str:
    """Return the alias of the key that the field writes under, by which reading is decided, too."""
    return alias_for(field, None) if callable(field.key) else field.key or DEFAULT_ALIAS


def _refuse_finished(field: Any, reader: LegacyFormat) -> None:
    if _is_finished(field):
        raise MalformedEnvelope(
            f"the conversion of this column is finished, and a value in it was stored by "
            f"{reader.package}. It is not read any more: was it written by an old build, or "
            "restored from a backup?"
        )


def _is_finished(field: Any) -> bool:
    return bool(field.is_finished(router.db_for_write(field.model)))


def _time_zone(field: Any) -> tzinfo | None:
    return connections[router.db_for_read(field.model)].timezone


def _note(field: Any, reader: LegacyFormat, found: LegacyValue) -> None:
    for listener in _listeners:
        listener(field.field_path, reader.package, found.layers)


# In the place of what reads envelopes alone


def sealed_opener(field: Any, open_sealed: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what opens sealed values of both kinds."""

    def open_any(sealed: SealedValue) -> Any:
        if is_envelope(sealed.envelope) or format_of(field, sealed.envelope) is None:
            return open_sealed(sealed)
        try:
            return opened(field, sealed.envelope)
        except Exception as error:
            if field.masks and isinstance(error, KeyAccessDenied):
                return Mask(sealed)
            problem = _located(sealed, error)
        raise problem

    return open_any


def column_reader(
    field: Any, read_envelope: Callable[..., Any], *, to_verify: bool
) -> Callable[..., Any]:
    """Return the converter of a column for values of both kinds."""

    def read_any(value: Any, expression: Any, connection: Any) -> Any:
        if value is None or is_envelope(value) or format_of(field, value) is None:
            return read_envelope(value, expression, connection)
        time_zone = None if connection is None else connection.timezone
        try:
            return opened(field, value, time_zone=time_zone, to_verify=to_verify)
        except EnvelopeError as error:
            if field.masks and isinstance(error, KeyAccessDenied):
                return Mask(SealedValue(field, value))
            problem = _named(field, error)
        del value  # which may be in clear, and error reports show variables
        raise problem.with_traceback(None)

    return read_any


def portable(field: Any, sealed: SealedValue) -> bytes:
    """Return what a pickle has of a sealed value: what is stored; of what is in clear, an envelope.

    Raises:
        EnvelopeError: no envelope can be made of it, or not by this principal (laws 1 and 9).
    """
    stored = sealed.envelope
    reader = None if is_envelope(stored) else format_of(field, stored)
    if reader is None or not reader.is_clear:
        return stored
    alias, bound = _alias(field), field.is_bound
    try:
        if bound and sealed.row is MISSING:
            raise DecryptionFailed("it is not known of which row it is")
        context = field.context_of(sealed.row, None) if bound else field.contexts[0]
        raw = without_mark(field, stored)
        prepared = Unencrypted(reader.read(raw, field, _time_zone(field)).value, None)
        plaintext_of = refusing(field, guarded(field))
        return encrypt(
            alias, plaintext_of, prepared, context, None, field.field_path, managed_by(field.key)
        )
    except Exception as error:
        problem = _located(sealed, error)
    del stored, raw  # which are in clear, and error reports show variables
    raise problem


def load(field: Any) -> None:
    """Have what is asked about a value here when it is loaded, and raise nothing."""
    with suppress(EnvelopeError, ImproperlyConfigured, FieldError):  # raised when a caller looks
        _is_finished(field)
        keyring.look_up(_alias(field))


def _named(field: Any, error: EnvelopeError) -> EnvelopeError:
    return error if isinstance(error, DecryptionFailed) else named(field, error)


def _located(sealed: SealedValue, error: Exception) -> Exception:
    if isinstance(error, SynchronousOnlyOperation):
        error = OpeningNeedsThread(f"something has to be asked for it: {error}")
    if isinstance(error, EnvelopeError):
        error = _named(sealed.field, error)
    elif isinstance(error, ImproperlyConfigured):
        error = type(error)(f"{sealed.field}: {error}")
    hint = ""
    if isinstance(error, OpeningNeedsThread):
        hint = f" Use `await obj.arefresh_from_db(fields=[{sealed.field.name!r}])`."
    return located(sealed, error, hint)
