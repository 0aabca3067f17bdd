"""From a value to its plaintext, where a project's code says how.

No exception that leaves here holds a value: neither itself, nor one that it is chained to, nor a
variable of a frame that it passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ToPlaintext = Callable[[Any], bytes]


def guarded(field: Any) -> ToPlaintext:
    """Return `field.to_plaintext`, raising what names the field and holds nothing of the value.

    It raises:
        TypeError, ValueError: the value is none that the field can store.
    """
    to_plaintext: ToPlaintext = field.to_plaintext
    if type(field).__module__.startswith("envelope_fields."):
        return to_plaintext  # which raises nothing else

    def guard(value: Any) -> bytes:
        try:
            plaintext = to_plaintext(value)
            if isinstance(plaintext, bytes):
                return plaintext
            problem: Exception = TypeError(
                f"{field}: to_plaintext() returned {type(plaintext).__name__} instead of bytes."
            )
            del plaintext
        except Exception as error:
            problem = _retold(field, error, value)
        del value  # outside of `except`: what was raised there may hold it
        raise problem

    return guard


def _retold(field: Any, error: Exception, value: Any) -> Exception:
    """Return what may be said of an error: what the field itself says, if that holds no value."""
    kind = TypeError if isinstance(error, TypeError | AttributeError) else ValueError
    said = str(error)
    if said.startswith(f"{field}: ") and str(value) not in said and repr(value) not in said:
        return kind(said)
    return kind(
        f"{field}: this is not a value that the field can store: to_plaintext() raised "
        f"{type(error).__name__}."
    )
