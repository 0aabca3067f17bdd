"""From a value to its plaintext, where a project's code says how.

No exception that leaves here holds a value: neither itself, nor one that it is chained to, nor a
variable of a frame that it passed.
"""

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
            problem = _retold(field, error)
        del value  # outside of `except`: what was raised there may hold it
        raise problem

    return guard


def _retold(field: Any, error: Exception) -> Exception:
    """Return what may be said of an error: all of it where a field of ours says it."""
    kind = TypeError if isinstance(error, TypeError | AttributeError) else ValueError
    if str(error).startswith(f"{field}: ") and _is_raised_by_us(error):
        return kind(str(error))
    return kind(
        f"{field}: this is not a value that the field can store: to_plaintext() raised "
        f"{type(error).__name__}."
    )


def _is_raised_by_us(error: Exception) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return str(module).startswith("envelope_fields.")
