"""The PIN of a token's user: where it comes from, and what is done so that no token locks it."""

import os
from pathlib import Path
from typing import Any, Final

import PyKCS11 as pkcs11

from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.options import read_private, variable
from envelope_fields.root_keys.pkcs11.module import WRONG_PIN, name_of

_LOGGED_IN: Final = (pkcs11.CKS_RO_USER_FUNCTIONS, pkcs11.CKS_RW_USER_FUNCTIONS)
_NOT_IN_A_PIN: Final = (b"\n", "\N{REPLACEMENT CHARACTER}".encode())
_WELCOME: Final = (pkcs11.CKR_OK, pkcs11.CKR_USER_ALREADY_LOGGED_IN)


class Pin:
    """A PIN in the environment or in a file, read for each login.

    A token locks itself after a few wrong PINs. So one that was wrong is not tried again by this
    object until it has changed or `forget` is called, and none is tried where it would be the last.

    Args (exactly one):
        env: the name of the environment variable that holds it.
        file: the path of a file that holds it, and that only its owner may read.
    """

    def __init__(self, env: str | None, file: str | os.PathLike[str] | None) -> None:
        self._env, self._file = env, file
        self._refused: KeyBuffer | None = None

    def forget(self) -> None:
        """Forget that it was wrong: the next login tries it once."""
        self._refused = None

    def log_in(self, session: Any, flags: int, token: str) -> None:
        """Log the user in, unless this process has.

        Args:
            session: PyKCS11's, with the token.
            flags: those of the token's information (`CKF_USER_PIN_…`).
            token: what messages call it.

        Raises:
            ValueError: the PIN is wrong, or not in order.
            RootKeyUnavailable: there is none, or the token takes none at present.
            PyKCS11Error: as it answers.
        """
        if session.getSessionInfo().state in _LOGGED_IN:
            return
        _check_counter(flags, token)
        pin = self._read()
        code = self._answer(session, pin)
        if code in WRONG_PIN:
            self._refused = pin
            raise ValueError(
                f"the PIN from {self._source} is not that of {token}: {name_of(code)}. Tokens "
                "lock after a few wrong PINs, so it is not tried again. Correct it; if the token "
                "is to be corrected, restart then"
            )
        if code in (pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED):
            raise RootKeyUnavailable(
                f"{token} takes no PIN of its user: {name_of(code)}. Have its security officer "
                "set a new one"
            )
        if code not in _WELCOME:
            raise pkcs11.PyKCS11Error(code)

    def _answer(self, session: Any, pin: KeyBuffer) -> int:
        """Return the code of a login. PyKCS11's error is not raised: its frames show the PIN."""
        if pin == self._refused:
            return int(pkcs11.CKR_PIN_INCORRECT)
        try:
            session.login(pin.decode())
        except pkcs11.PyKCS11Error as error:
            return int(error.value)
        return int(pkcs11.CKR_OK)

    @property
    def _source(self) -> str:
        if self._env is not None:
            return variable("pin_env", self._env)
        return f"the file {os.fspath(self._file or '')}"

    def _read(self) -> KeyBuffer:
        pin = KeyBuffer(self._text().rstrip("\r\n").encode())
        if not pin:
            raise RootKeyUnavailable(f"{self._source} does not hold the PIN of the token's user")
        if any(pin.count(each) for each in _NOT_IN_A_PIN):
            raise ValueError(f"{self._source} is to hold a PIN alone, as one line of UTF-8")
        return pin

    def _text(self) -> str:
        if self._file is None:
            return os.environ.get(self._env or "", "")
        try:
            return read_private(Path(self._file), "a PIN")
        except FileNotFoundError:
            return ""


def _check_counter(flags: int, token: str) -> None:
    if flags & pkcs11.CKF_USER_PIN_LOCKED:
        raise RootKeyUnavailable(
            f"{token} has locked the PIN of its user. Its security officer unlocks it"
        )
    if flags & pkcs11.CKF_USER_PIN_FINAL_TRY:
        raise RootKeyUnavailable(
            f"{token} locks the PIN of its user if the next one is wrong, so none is tried. Log in "
            "by hand, with the vendor's tool or pkcs11-tool --login: the right PIN sets its "
            "counter back"
        )
