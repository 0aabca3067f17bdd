"""The errors of this package.

Everything that goes wrong with a stored value or with a key is an `EnvelopeError`; a wrong
setting is Django's own `ImproperlyConfigured`. No message and no attribute ever holds a
plaintext or a key.
"""

from copy import copy
from typing import Any, Self, TypeVar

from django.core.exceptions import PermissionDenied, SynchronousOnlyOperation

__all__ = [
    "DecryptionFailed",
    "EnvelopeError",
    "IndexNotBegun",
    "IndexNotReady",
    "KeyAccessDenied",
    "MalformedEnvelope",
    "MasterKeyNotFound",
    "MasterKeyUnusable",
    "OpeningNeedsThread",
    "RootKeyRefused",
    "RootKeyUnavailable",
    "WrappedKeyAltered",
]

_Error = TypeVar("_Error", bound="EnvelopeError")

# Where messages send their readers: the pages of the documentation are not in the wheel.
DOCUMENTATION = "https://django-envelope-fields.readthedocs.io/en/stable/"


class EnvelopeError(Exception):
    """The base of all errors about envelopes and their keys."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Test runners and task queues send errors from process to process; an error is made of
        # more than its message, and Python would make it again of that alone.
        return _made_again, (type(self), self.args, vars(self))

    def saying(self, message: str) -> Self:
        """Return an error of the same class and attributes with another message."""
        return _made_again(type(self), (message,), vars(self))


class MalformedEnvelope(EnvelopeError):
    """Bytes that are not an envelope of a known format: truncated, or never encrypted."""


class DecryptionFailed(EnvelopeError):
    """An envelope that does not open: altered, moved from its place, or of another context.

    KMS calls this `InvalidCiphertextException`.
    """


class MasterKeyNotFound(EnvelopeError):
    """No master key has this alias or id, or no key version the id that an envelope names.

    KMS calls this `NotFoundException`.
    """


class MasterKeyUnusable(EnvelopeError):
    """The state of a master key, or of one of its versions, does not allow the operation.

    KMS calls this `DisabledException` or `KMSInvalidStateException`.
    """


class KeyAccessDenied(EnvelopeError, PermissionDenied):
    """The principal may not do this with this key; in a Django view it becomes a 403.

    KMS calls this `AccessDeniedException`.

    Its `args` are empty: frameworks such as Django REST framework make a response of them, and its
    message, which names the key, is for the project.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__()
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"  # Celery and others log this

    def saying(self, message: str) -> Self:
        return _made_again(type(self), (), {**vars(self), "message": message})


class IndexNotBegun(EnvelopeError):
    """Nothing is known of a blind index yet, or it has no version of the search key yet."""


class IndexNotReady(EnvelopeError):
    """Rows may be missing in a blind index, so that it must not be asked.

    Attributes:
        report: what was found when it was to be brought further, an `IndexReport`; else None.
    """

    report: Any = None


class RootKeyUnavailable(EnvelopeError):
    """The root key cannot be asked right now; the same call may succeed later.

    The network, the service, our own credentials and clock, and every error that no list names.
    """


class RootKeyRefused(EnvelopeError):
    """The root key answered, and does not do this: it is disabled, or the right is not there.

    Nothing that we hold is damaged; somewhere a decision was made, and can be unmade.
    """


class WrappedKeyAltered(RootKeyRefused):
    """The stored bytes, or what they are bound to, are not what the root key wrapped.

    Our data and not the service's key: a row was altered, or the settings name another root key
    than the one that wrapped it. KMS calls this `InvalidCiphertextException`.
    """


class OpeningNeedsThread(EnvelopeError, SynchronousOnlyOperation):
    """A value cannot be opened where an event loop is running, since its key must be asked for.

    `await obj.arefresh_from_db(fields=[...])` asks in a thread, and opens the value there.
    """


def copied(error: Exception) -> Exception:
    """Return an error for another thread, which adds frames of its own to it."""
    try:
        return copy(error)
    except Exception:  # one that is made of more than its message
        classes = (WrappedKeyAltered, RootKeyRefused, RootKeyUnavailable)
        found = (each for each in classes if isinstance(error, each))
        return next(found, RootKeyUnavailable)(str(error))


def documentation_page(name: str) -> str:
    """Return the address of a page of `docs/`, which is named without its suffix."""
    return f"{DOCUMENTATION}{name}.html"


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun, "1 value" or "2 values", for errors and reports."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _made_again(
    error_class: type[_Error], args: tuple[Any, ...], attributes: dict[str, Any]
) -> _Error:
    error = error_class.__new__(error_class, *args)
    vars(error).update(attributes)
    return error
