"""A PKCS#11 module as this process has loaded it, and what it answers, sorted by code.

Initialising, logging in and the list of tokens are the process's, however many root keys use the
module: there is one object for each path. PyKCS11 keeps Python's global lock during each call, so
one operation at a time costs nothing; and no thread is in the middle of one when the module begins
anew.
"""

import _ssl
import ctypes
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import PyKCS11 as pkcs11

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys.base import locked

_logger = logging.getLogger("envelope_fields.root_keys")
_INITIALIZED: Final = (pkcs11.CKR_OK, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)


def _clearing() -> Callable[[], object]:
    """Return OpenSSL's function that empties the queue of errors of a thread.

    Modules that use the same OpenSSL as Python, such as SoftHSM, leave errors there, and the next
    TLS connection that the thread reads from would take them for its own.
    """
    try:
        return ctypes.CDLL(getattr(_ssl, "__file__", None)).ERR_clear_error
    except (AttributeError, OSError):  # Python has one of its own, which no module reaches
        return lambda: None


_clear_errors: Final = _clearing()
_modules: dict[str, "Module"] = {}


def module_at(path: str) -> "Module":
    """Return the module at a path, which is loaded when it is first needed."""
    return _modules.setdefault(path, Module(path))


class Module:
    """A module; `library` and `begin_anew` are called in one's turn.

    Attributes:
        generation: how often it was initialised. Sessions of an earlier time are gone.
    """

    def __init__(self, path: str) -> None:
        self.generation = 0
        self._path = path
        self._lock = Lock()
        self._library: Any = None  # kept until the process ends: its threads run in the code
        self._process = os.getpid()

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """Wait until no other thread uses the module.

        Raises:
            RootKeyUnavailable: another one still does, after these seconds.
        """
        path = self._path
        waited = f"other threads have been using the PKCS#11 module {path} for {seconds:g} s"
        with locked(self._lock, seconds, waited):
            try:
                yield
            finally:
                _clear_errors()

    def library(self) -> Any:
        """Return PyKCS11's object for the module, initialised in this process.

        Raises:
            ValueError: there is no such module.
            PyKCS11Error: as it answers.
        """
        if self._library is None:
            self._library = self._loaded()
            self._count()
        elif self._process != os.getpid():
            self._initialize()
        return self._library

    def has(self, generation: int) -> bool:
        """Return whether sessions of a generation may still be there."""
        return generation == self.generation and self._process == os.getpid()

    def begin_anew(self) -> None:
        """Have the module forget tokens, sessions and logins, as after a restart of the process.

        Modules see some changes in no other way: a device that is back, SoftHSM's tokens that
        could not be read while other processes logged in. What a child has of its parent's is not
        finalized, which might end the parent's connections.
        """
        if self._library is None:
            return
        if self._process == os.getpid():
            self._library.lib.C_Finalize()
        self._initialize()

    def after_fork(self) -> None:
        """Forget who was using it: threads of the parent are not in the child."""
        self._lock = Lock()

    def _initialize(self) -> None:
        code = self._library.lib.C_Initialize()
        if code not in _INITIALIZED:
            raise pkcs11.PyKCS11Error(code)
        self._count()

    def _count(self) -> None:
        self._process = os.getpid()
        self.generation += 1

    def _loaded(self) -> Any:
        try:
            return pkcs11.PyKCS11Lib().load(self._path)
        except pkcs11.PyKCS11Error as error:
            if error.value >= 0:  # of C_Initialize
                raise
        if not os.path.exists(self._path):
            raise ValueError(f"the PKCS#11 module {self._path} does not exist")
        raise ValueError(
            f"{self._path} cannot be loaded as a PKCS#11 module: it is not one, it is of another "
            "architecture, or a library that it needs is missing (ldd lists them)"
        )


# -- Codes (PKCS#11 3.0, section 5.1, "Function return values") ------------------------------------

# The token is there, and does not do this with the key.
REFUSED: Final = frozenset(
    {
        pkcs11.CKR_ACTION_PROHIBITED,
        pkcs11.CKR_FUNCTION_REJECTED,
        pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED,
    }
)
# What was to be opened is not what the key made.
ALTERED: Final = frozenset(
    {
        pkcs11.CKR_AEAD_DECRYPT_FAILED,
        pkcs11.CKR_ENCRYPTED_DATA_INVALID,
        pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE,
        pkcs11.CKR_WRAPPED_KEY_INVALID,
        pkcs11.CKR_WRAPPED_KEY_LEN_RANGE,
    }
)
# One code for several: SoftHSM answers a wrong tag as others do a device that fails.
UNCLEAR: Final = frozenset(
    {
        pkcs11.CKR_DATA_INVALID,
        pkcs11.CKR_DATA_LEN_RANGE,
        pkcs11.CKR_FUNCTION_FAILED,
        pkcs11.CKR_GENERAL_ERROR,
    }
)
# The token, or what lies between it and us; a new session may help.
UNAVAILABLE: Final = UNCLEAR | {
    pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
    pkcs11.CKR_DEVICE_ERROR,
    pkcs11.CKR_DEVICE_MEMORY,
    pkcs11.CKR_DEVICE_REMOVED,
    pkcs11.CKR_FUNCTION_CANCELED,
    pkcs11.CKR_HOST_MEMORY,
    pkcs11.CKR_KEY_HANDLE_INVALID,
    pkcs11.CKR_OBJECT_HANDLE_INVALID,
    pkcs11.CKR_OPERATION_ACTIVE,
    pkcs11.CKR_OPERATION_NOT_INITIALIZED,
    pkcs11.CKR_SESSION_CLOSED,
    pkcs11.CKR_SESSION_COUNT,
    pkcs11.CKR_SESSION_HANDLE_INVALID,
    pkcs11.CKR_SLOT_ID_INVALID,
    pkcs11.CKR_TOKEN_NOT_PRESENT,
    pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
    pkcs11.CKR_TOKEN_RESOURCE_EXCEEDED,
    pkcs11.CKR_USER_NOT_LOGGED_IN,
    pkcs11.CKR_USER_PIN_NOT_INITIALIZED,  # also SoftHSM's, while others log in
}
# The key or the token cannot do what the settings say.
UNSUITABLE: Final = frozenset(
    {
        pkcs11.CKR_KEY_SIZE_RANGE,
        pkcs11.CKR_KEY_TYPE_INCONSISTENT,
        pkcs11.CKR_MECHANISM_INVALID,
    }
)
# A device that chooses the IV itself does not take ours.
IV_NOT_TAKEN: Final = frozenset({pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_MECHANISM_PARAM_INVALID})

WRONG_PIN: Final = frozenset(
    {pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE}
)


def name_of(code: int) -> str:
    """Return what PKCS#11 calls a code, such as "CKR_DEVICE_REMOVED (0x00000032)"."""
    return str(pkcs11.PyKCS11Error(code))


def failure(code: int, key: object, mechanism: str) -> Exception:
    """Return the error that a code stands for, after something was to be done with a root key."""
    if code in ALTERED:
        return altered(key)
    if code in REFUSED:
        return RootKeyRefused(f"{key} does not allow {mechanism}: {name_of(code)}")
    if code in UNSUITABLE:
        return ValueError(
            f"{key} cannot be used with {mechanism}: {name_of(code)}. Name another mechanism, "
            "or a key that the token can use with this one"
        )
    if code not in UNAVAILABLE:
        _logger.warning("%s: %s is in no list, and counts as unavailable", key, name_of(code))
    return RootKeyUnavailable(f"{key} cannot be asked: {name_of(code)}")


def altered(key: object) -> WrappedKeyAltered:
    """Return the error for bytes that the key did not make."""
    return WrappedKeyAltered(
        f"{key} does not open this master key version: another key wrapped it, or the row was "
        "altered"
    )
