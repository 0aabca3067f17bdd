"""What an encrypted field says when it cannot do what it was asked."""

import logging
from typing import Any, TypeVar

from django.core.exceptions import FieldError, ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DatabaseError

from envelope_fields import exceptions
from envelope_fields.crypto import envelope, format
from envelope_fields.exceptions import DecryptionFailed, EnvelopeError, MasterKeyNotFound
from envelope_fields.fields import defaults

_Error = TypeVar("_Error", bound=EnvelopeError)

_IN_CLEAR = (
    "It was stored in clear, by SQL or before the field was encrypted, or is damaged: write the "
    "value again through the model"
)

_logger = logging.getLogger("envelope_fields.fields.sealed")


def refuse(field: Any, what: str) -> FieldError:
    """Return the error for a query that would compute on envelopes, or compare them."""
    meant = getattr(field, "values", field)  # and not the column in clear that it converts
    return FieldError(
        f"{meant} is encrypted: {what}. Fetch the values and do it in Python; to find rows by a "
        f"value, {_way_to_look_up(field)} `isnull` works."
    )


def _way_to_look_up(field: Any) -> str:
    """Return which lookups there are, or the line that adds some."""
    values = getattr(field, "values", field)
    indexes = [each for each in values.indexes if not each.is_compound]
    if not indexes:
        return f'add a blind index: `{values.name}_index = BlindIndexField("{values.name}")`.'
    parts = ("__".join((values.name, *each.part_path)) for each in indexes)
    names = ", ".join(dict.fromkeys(parts))
    folds = any(each.normal.folds_case and not each.part_path for each in indexes)
    return f"its blind indexes take `exact`{', `iexact`' if folds else ''} and `in` of {names}."


def without_row(field: Any) -> FieldError:
    """Return the error for a query that would read values without the rows they are bound to."""
    names = ", ".join(repr(each.name) for each in field.bound_fields)
    return FieldError(
        f"{field} is bound to columns of its row ({names}), and its values open in objects alone: "
        "values(), annotations and subqueries do not know the row. Load objects with "
        f"only({field.name!r}), and read the attribute. `isnull` works."
    )


def named(field: Any, error: _Error) -> _Error:
    """Return the same error, saying at which field it happened."""
    lacks_key = isinstance(error, MasterKeyNotFound) or isinstance(error.__cause__, DatabaseError)
    return error.saying(f"{field}: {error}{defaults.advice(field.model) if lacks_key else ''}")


def unread(field: Any, value: Any, error: Exception) -> Exception:
    """Return the error for a stored value that cannot be read, naming its field."""
    try:
        version_id = format.parse(value).version_id.hex()
    except EnvelopeError as malformed:
        return named(field, malformed.saying(f"{malformed}. {_IN_CLEAR}"))
    if type(error) in (envelope.UnwrapFailed, DecryptionFailed):
        is_unwrapped = type(error) is DecryptionFailed
        renamed = " If the field was renamed, name its earlier label in previous_contexts=."
        if field.is_bound:
            renamed += (
                " It is bound to columns of its row: it may have been written for another one. If "
                "it was bound otherwise before, say so in previous_bindings=."
            )
        return DecryptionFailed(
            f"{field}: the value under key version {version_id} cannot be decrypted "
            f"({type(error).__name__}): {error}.{'' if is_unwrapped else renamed}"
        )
    if isinstance(error, exceptions.RootKeyRefused | exceptions.RootKeyUnavailable):
        return error.saying(
            f"{field}: the value under key version {version_id} cannot be opened now: {error}"
        )
    return named(field, error) if isinstance(error, EnvelopeError) else error


def not_a_value(field: Any, value: bytes, failure: str) -> DecryptionFailed:
    """Return the error for a plaintext that is not what its field stores."""
    version_id = format.parse(value).version_id.hex()
    return DecryptionFailed(
        f"{field}: the value under key version {version_id} was decrypted and is not what this "
        f"field stores ({failure}). Was it written by a field of another type?"
    )


def unopened(sealed: Any, error: Exception) -> Exception:
    """Return the error for a sealed value that a caller looked at, and log it."""
    field, handle = sealed.field, sealed.handle
    if type(error) is SynchronousOnlyOperation:  # to know the user takes a query, too
        error = exceptions.OpeningNeedsThread(f"something has to be asked for it: {error}")
    if isinstance(error, ImproperlyConfigured):
        return located(sealed, type(error)(f"{field}: {error}"))
    if not isinstance(error, EnvelopeError | TypeError):
        return located(sealed, error)
    hint, loaded_by = "", None if handle is None else handle.loaded_by
    if isinstance(error, exceptions.KeyAccessDenied) and loaded_by is not None:
        hint = f" The object was loaded by {loaded_by}."
    elif isinstance(error, exceptions.OpeningNeedsThread):
        hint = f" Use `await obj.arefresh_from_db(fields=[{field.name!r}])`."
    return located(sealed, unread(field, sealed.envelope, error), hint)


def located(sealed: Any, error: Exception, hint: str = "") -> Exception:
    """Return an error that says in which row a value is, and log it: a template may swallow it."""
    end = "" if str(error).endswith((".", "?")) else "."
    message = f"{error}{end}{hint}{sealed.where()}"
    if isinstance(error, EnvelopeError):
        error = error.saying(message)
    elif isinstance(error, ImproperlyConfigured):
        error = type(error)(message)
    _logger.error("A value could not be opened. %s", error)
    return error
