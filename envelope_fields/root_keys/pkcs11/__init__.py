"""A root key in a hardware security module, through PKCS#11.

What it stores is, for each master key version:

    offset  bytes  what
    0       1      format, 01
    1       1      mechanism: 01 AES_GCM, 02 AES_KEY_WRAP_KWP, 03 AES_KEY_WRAP_PAD
    2       1      n, the length of the IV: 12 to 16 for AES_GCM, else 0
    3       n      the IV that the token used
    3+n     m      AES_GCM: the encrypted material and its tag, 48 bytes. The additional data is
                   `context.encode()`. Else: the wrapped object that held material ‖ SHA-256 of
                   `context.encode()`; 72 bytes by RFC 5649, or 80 of a token that pads otherwise
"""

import os
from collections.abc import Callable
from random import uniform
from time import sleep
from typing import Any, ClassVar, Final, TypeVar

try:
    import PyKCS11 as pkcs11
except ImportError:
    raise ImportError(
        'a root key in an HSM needs PyKCS11: pip install "django-envelope-fields[pkcs11]"'
    ) from None

from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.base import MATERIAL_BYTES, PROBE, RootKey, Wrapped
from envelope_fields.root_keys.options import seconds
from envelope_fields.root_keys.pkcs11.mechanisms import MECHANISMS, parse
from envelope_fields.root_keys.pkcs11.module import (
    UNAVAILABLE,
    UNCLEAR,
    altered,
    failure,
    module_at,
)
from envelope_fields.root_keys.pkcs11.pin import Pin
from envelope_fields.root_keys.pkcs11.session import KeyName, Session, TokenNotFound

_Answer = TypeVar("_Answer")

# Seconds before a module begins anew, at most; half of it at least.
PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6)


class Pkcs11RootKey(RootKey):
    """Wraps with a non-extractable AES-256 key of a PKCS#11 token, such as an HSM.

    Args:
        module: the absolute path of the vendor's PKCS#11 module.
        token_label: the label of the token.
        key_label: the label of the key (CKA_LABEL).
        key_id: the id of the key (CKA_ID), in hexadecimal; with the label, without, or instead.
        pin_env: the name of the environment variable that holds the PIN of the token's user.
        pin_file: or the path of a file that holds it, and that only its owner may read.
        mechanism: "AES_GCM", or "AES_KEY_WRAP_KWP" or "AES_KEY_WRAP_PAD" (RFC 5649; a token has
            one of the two names for it).
        timeout: seconds to wait for other threads that use the module. A call to the module itself
            cannot be interrupted: its own settings bound that.
    """

    asks_service: ClassVar = True

    def __init__(
        self,
        *,
        module: str | os.PathLike[str],
        token_label: str,
        key_label: str = "",
        key_id: str = "",
        pin_env: str | None = None,
        pin_file: str | os.PathLike[str] | None = None,
        mechanism: str = "AES_GCM",
        timeout: float = 10.0,
    ) -> None:
        if (pin_env is None) == (pin_file is None):
            raise TypeError("give exactly one of the options pin_env, pin_file")
        if not all(isinstance(each, str) for each in (token_label, key_label, key_id, mechanism)):
            raise TypeError("token_label, key_label, key_id and mechanism are text")
        if not token_label or not (key_label or key_id):
            raise TypeError("give token_label, and key_label or key_id")
        if not isinstance(pin_env or pin_file, str | os.PathLike):
            raise TypeError("pin_env and pin_file are text")
        if mechanism not in MECHANISMS:
            raise ValueError(f"mechanism is one of {', '.join(MECHANISMS)}")
        if not os.path.isabs(module):
            raise ValueError("module is the absolute path of a PKCS#11 module")
        self._name = KeyName(token_label, key_label, _bytes(key_id))
        self._module = module_at(os.path.realpath(module))
        self._pin = Pin(pin_env, pin_file)
        self._mechanism_name, self._mechanism = mechanism, MECHANISMS[mechanism]
        self._timeout = seconds(timeout)
        self._session: Session | None = None
        self._is_refreshed = False

    def __repr__(self) -> str:
        return f"<Pkcs11RootKey {self._name.uri}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        return self._use(lambda session: self._wrapped(session, material, context))

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        iv, ciphertext = parse(wrapped, self._mechanism)
        return self._use(lambda session: self._opened(session, iv, ciphertext, context))

    def check(self) -> None:
        self._use(self._check)

    def refresh(self) -> None:
        self._pin.forget()
        self._is_refreshed = True
        self.close()

    def close(self) -> None:
        try:
            with self._module.turn(self._timeout):
                self._drop()
        except RootKeyUnavailable:
            self._session = None  # whatever hangs has it

    def after_fork(self) -> None:
        self._session = None
        self._module.after_fork()

    def _use(self, work: Callable[[Session], _Answer]) -> _Answer:
        """Work with a session; once more with a new one where it, or its token, was gone."""
        with self._module.turn(self._timeout):
            for _ in range(2):
                try:
                    return work(self._connected())
                except pkcs11.PyKCS11Error as error:
                    code = error.value
                self._drop()
                if code not in UNAVAILABLE:
                    break
        # Not in the handler: the frames of PyKCS11's error hold material and are left behind.
        raise failure(code, self._name, self._mechanism_name)

    def _wrapped(
        self, session: Session, material: bytearray, context: KeyVersionContext
    ) -> Wrapped:
        wrapped = self._mechanism.wrap(session, material, context)
        return Wrapped(wrapped, session.wrapping_key_id)

    def _opened(
        self, session: Session, iv: bytes, ciphertext: bytes, context: KeyVersionContext
    ) -> KeyBuffer:
        """Open; where the code is one for several, find out whether the key opens anything."""
        for is_certain in (False, True):
            try:
                return self._mechanism.unwrap(session, iv, ciphertext, context)
            except pkcs11.PyKCS11Error as error:
                if error.value not in UNCLEAR:
                    raise
            if not is_certain:
                self._prove(session)
        raise altered(self._name)

    def _prove(self, session: Session) -> None:
        """Wrap and unwrap something else with the key, in this session."""
        material = random_buffer(MATERIAL_BYTES)
        try:
            wrapped = self._mechanism.wrap(session, material, PROBE)
            opened = self._mechanism.unwrap(session, *parse(wrapped, self._mechanism), PROBE)
            same = opened == material
            wipe(opened)
        finally:
            wipe(material)
        if not same:
            raise RootKeyUnavailable(f"{self._name} does not give back what it wrapped")

    def _check(self, session: Session) -> None:
        session.check()
        self._prove(session)

    def _connected(self) -> Session:
        session = self._session
        if session is None or not self._module.has(session.generation):
            session = self._session = self._new_session()
        return session

    def _new_session(self) -> Session:
        """Open a session; where it may help, the module begins anew before the next attempt."""
        for attempt, pause in enumerate((0.0, *PAUSES)):
            try:
                if attempt or self._is_refreshed:
                    sleep(uniform(pause / 2, pause))  # noqa: S311
                    self._is_refreshed = False
                    self._module.begin_anew()
                return self._session_of(self._module.library())
            except TokenNotFound as error:
                failed: Exception = error
            except pkcs11.PyKCS11Error as error:
                failed = failure(error.value, self._name, self._mechanism_name)
                if error.value not in UNAVAILABLE:
                    break
        raise failed

    def _session_of(self, library: Any) -> Session:
        generation, usage = self._module.generation, self._mechanism.usage
        return Session(library, generation, self._name, usage, self._pin)

    def _drop(self) -> None:
        session, self._session = self._session, None
        # The handle of a session that is gone may be another one's by now.
        if session is not None and self._module.has(session.generation):
            session.close()


def _bytes(key_id: str) -> bytes:
    try:
        return bytes.fromhex(key_id)
    except ValueError:
        raise ValueError("key_id is the CKA_ID of the key in hexadecimal, such as a1b2") from None
