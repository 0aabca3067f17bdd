"""A root key on this machine: 32 bytes from the environment, a file, or the project's own code."""

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag

from envelope_fields.crypto import xaes
from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import WrappedKeyAltered
from envelope_fields.root_keys.base import MATERIAL_BYTES, RootKey, Wrapped
from envelope_fields.root_keys.options import read_private, variable

FORMAT: Final = b"\x01"
NONCE_BYTES: Final = 24
MAKE_ONE: Final = "`python manage.py generate_root_key` makes a root key."


class LocalRootKey(RootKey):
    """Wraps with XAES-256-GCM under a 256-bit key, written as base64.

    Args (exactly one):
        env: the name of the environment variable that holds the key.
        file: the path of a file that holds the key, and that only its owner may read.
        key: the key itself, for a project that fetches it from elsewhere. Never from a file
            under version control.
    """

    def __init__(
        self,
        *,
        env: str | None = None,
        file: str | os.PathLike[str] | None = None,
        key: str | None = None,
    ) -> None:
        if sum(option is not None for option in (env, file, key)) != 1:
            raise TypeError("give exactly one of the options env, file, key")
        if not isinstance(env or file or key, str | os.PathLike):
            raise TypeError("env, file and key are text")
        if isinstance(file, str) and _decoded(file):
            del file  # messages about files show their path, and error reports variables
            raise TypeError("file is the path of a file that holds a key, and not the key itself")
        self._env, self._file, self._key = env, file, key

    def __repr__(self) -> str:
        return f"<LocalRootKey from {self._source}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        nonce = os.urandom(NONCE_BYTES)
        key = self._read()
        try:
            return Wrapped(FORMAT + nonce + xaes.seal(key, nonce, material, context.encode()))
        finally:
            wipe(key)

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        nonce, ciphertext = _parse(wrapped)
        material = KeyBuffer(MATERIAL_BYTES)
        key = self._read()
        try:
            xaes.open_into(key, nonce, ciphertext, context.encode(), material)
        except InvalidTag:
            wipe(material)
            raise WrappedKeyAltered(
                f"the root key from {self._source} does not open this master key version: "
                "it is not the one that wrapped it, or the row was altered"
            ) from None
        finally:
            wipe(key)
        return material

    def check(self) -> None:
        wipe(self._read())

    @property
    def _source(self) -> str:
        if self._env is not None:
            return variable("env", self._env)
        if self._file is not None:
            return f"the file {os.fspath(self._file)}"
        return "the option `key`"

    def _read(self) -> bytearray:
        text = self._text()
        key = _decoded(text)
        if not key:
            raise ValueError(
                f"{self._source} does not hold a root key, which is base64 of "
                f"{xaes.KEY_BYTES} bytes. {MAKE_ONE}"
            )
        return key

    def _text(self) -> str:
        if self._key is not None:
            return self._key
        if self._file is not None:
            return _read_file(Path(self._file))
        text = os.environ.get(self._env or "", "")
        if not text:
            raise ValueError(f"{self._source} is not set. {MAKE_ONE}")
        return text


def _decoded(text: str) -> KeyBuffer:
    """Return the root key that a text is; empty if it is not one."""
    try:
        key = KeyBuffer(b64decode(text.strip(), validate=True))
    except (Base64Error, ValueError):
        return KeyBuffer()
    return key if len(key) == xaes.KEY_BYTES else KeyBuffer()


def generate() -> str:
    """Return a new root key: 256 bits from the operating system, as base64."""
    key = random_buffer(xaes.KEY_BYTES)
    try:
        return b64encode(key).decode("ascii")
    finally:
        wipe(key)


def _parse(wrapped: bytes) -> tuple[bytes, bytes]:
    expected = len(FORMAT) + NONCE_BYTES + MATERIAL_BYTES + 16
    if not wrapped.startswith(FORMAT) or len(wrapped) != expected:
        raise WrappedKeyAltered("this master key version was not wrapped by a local root key")
    return wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :]


def _read_file(path: Path) -> str:
    try:
        return read_private(path, "a root key")
    except FileNotFoundError:
        raise ValueError(f"the file {path} does not exist. {MAKE_ONE}") from None
