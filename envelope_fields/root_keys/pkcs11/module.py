"""A PKCS#11 module as this process has loaded it.

Initialising, logging in and the list of tokens are the process's, however many root keys use the
module: there is one object for each path. PyKCS11 keeps Python's global lock during each call, so
one operation at a time costs nothing; and no thread is in the middle of one when the module begins
anew.
"""

import _ssl
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import PyKCS11 as pkcs11

from envelope_fields.exceptions import RootKeyUnavailable

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
        lock = self._lock
        if not lock.acquire(timeout=seconds):
            raise RootKeyUnavailable(
                f"other threads have been using the PKCS#11 module {self._path} for {seconds:g} s"
            )
        try:
            yield
        finally:
            _clear_errors()
            lock.release()

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
            f"{self._path} cannot be loaded as a PKCS#11 module: it is none, it is of another "
            "architecture, or a library that it needs is missing (ldd lists them)"
        )
