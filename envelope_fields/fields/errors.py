"""What an encrypted field says when it cannot do what it was asked."""

from typing import Any, TypeVar

from django.core.exceptions import FieldError
from django.db import DatabaseError

from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound
from envelope_fields.fields import placeholder

_Error = TypeVar("_Error", bound=EnvelopeError)


def refuse(field: Any, what: str) -> FieldError:
    """Return the error for a query that would compute on envelopes, or compare them."""
    return FieldError(
        f"{field} is encrypted: {what}. Fetch the values and do it in Python; to search, keep a "
        "blind index of the value in a column beside it. `isnull` works."
    )


def named(field: Any, error: _Error) -> _Error:
    """Return the same error, saying at which field it happened."""
    lacks_key = isinstance(error, MasterKeyNotFound) or isinstance(error.__cause__, DatabaseError)
    return type(error)(f"{field}: {error}{placeholder.advice(field.model) if lacks_key else ''}")
