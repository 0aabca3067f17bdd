"""A key of the transit engine: what is asked of it, and what its refusals mean."""

import binascii
import re
from base64 import b64encode
from typing import Final, NamedTuple

from envelope_fields.crypto.buffers import Buffer, KeyBuffer, wipe
from envelope_fields.exceptions import (
    EnvelopeError,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.root_keys.base import MATERIAL_BYTES, MayNotUnwrap
from envelope_fields.root_keys.vault.answers import Answer, Status
from envelope_fields.root_keys.vault.session import Operation

# Those of 256 bits that authenticate, and that derive a key for each context.
TYPES: Final = ("aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305")
# Strictly: Vault opens `vault:v0:` as `vault:v1:`, and base64 with line breaks in it.
_CIPHERTEXT: Final = re.compile(r"vault:v([1-9][0-9]{0,8}):(?:[A-Za-z0-9+/]{4}){20,24}")


def version_of(ciphertext: str) -> int:
    """Return the version of the key that a ciphertext names.

    Raises:
        WrappedKeyAltered: it is not a ciphertext of 32 bytes.
    """
    found = _CIPHERTEXT.fullmatch(ciphertext)
    if found is None:
        raise WrappedKeyAltered("this master key version was not wrapped by a transit engine")
    return int(found[1])


class Description(NamedTuple):
    """What the engine says of a key.

    Its latest version encrypts, and the oldest is the first that may decrypt. One that is deleted
    waits to be restored (OpenBao's soft deletion).
    """

    kind: str
    is_derived: bool
    latest_version: int
    oldest_version: int
    is_deleted: bool


class TransitKey:
    """A key, by its name and by where its engine is mounted.

    Each method also raises `RootKeyUnavailable`, as `Operation.ask` does.
    """

    def __init__(self, mount_point: str, name: str) -> None:
        self._mount_point, self.name = mount_point, name

    def __str__(self) -> str:
        return self._path("keys")

    def encrypt(self, operation: Operation, material: Buffer, context: bytes) -> str:
        """Return the ciphertext of material.

        Raises:
            RootKeyRefused: the key is not there, or the policy does not allow it.
        """
        answer = operation.ask(
            lambda: operation.transit.encrypt_data(
                self.name,
                plaintext=_base64(material),
                context=_base64(context),
                mount_point=self._mount_point,
            )
        )
        if answer.status is Status.INVALID:
            raise self._not_encrypted(operation)
        self._check_granted(operation, answer, "encrypt")
        ciphertext = answer.part("data").text("ciphertext")
        if not _CIPHERTEXT.fullmatch(ciphertext):
            raise answer.unreadable()
        return ciphertext

    def decrypt(self, operation: Operation, ciphertext: str, context: bytes) -> KeyBuffer:
        """Return the material of a ciphertext, which the caller wipes.

        Raises:
            WrappedKeyAltered: it is not what the key encrypted for this context.
            MayNotUnwrap: the policy allows to encrypt, and not to decrypt.
            RootKeyRefused: as for `encrypt`.
        """
        answer = operation.ask(
            lambda: operation.transit.decrypt_data(
                self.name,
                ciphertext=ciphertext,
                context=_base64(context),
                mount_point=self._mount_point,
            )
        )
        if answer.status is Status.INVALID:
            raise self._not_decrypted(operation, version_of(ciphertext))
        self._check_granted(operation, answer, "decrypt")
        return _material(answer.part("data"))

    def describe(self, operation: Operation) -> Description:
        """Return what the engine says of the key.

        Raises:
            RootKeyRefused: it is not there, or the policy does not allow to read that.
        """
        return self._described(operation, self._read(operation))

    def check_kind(self, operation: Operation) -> None:
        """Refuse a key that does not bind material to its context.

        Raises:
            ValueError: it is not derived, or of a type that is not taken.
            RootKeyRefused: as for `describe`.
        """
        key = self.describe(operation)
        if not key.is_derived or key.kind not in TYPES:
            raise ValueError(
                f"the key {self} at {operation.url} is {key.kind}, "
                f"{'' if key.is_derived else 'not '}derived. It has to be derived, since another "
                f"one opens for every context, and one of {', '.join(TYPES)}. A key cannot be "
                "changed into that: make another, and name it in `key`"
            )

    def _path(self, operation: str) -> str:
        return f"{self._mount_point}/{operation}/{self.name}"

    def _read(self, operation: Operation) -> Answer:
        return operation.ask(
            lambda: operation.transit.read_key(self.name, mount_point=self._mount_point)
        )

    def _described(self, operation: Operation, answer: Answer) -> Description:
        self._check_granted(operation, answer, "keys")
        data = answer.part("data")
        oldest = data.number("min_decryption_version"), data.number("min_available_version")
        return Description(
            kind=data.text("type"),
            is_derived=data.flag("derived"),
            latest_version=data.number("latest_version"),
            oldest_version=max(oldest),
            is_deleted=data.flag("soft_deleted"),
        )

    def _check_granted(self, operation: Operation, answer: Answer, path: str) -> None:
        if answer.status is Status.NOT_FOUND:
            raise RootKeyRefused(
                f"{operation.url} has no key {self}. See that key, mount_point and namespace are "
                f"right; `vault write -f {self} derived=true` makes a key"
            )
        if answer.status is Status.FORBIDDEN:
            if path == "encrypt":  # under a name that is gone it would be the right to create
                self.describe(operation)
            wraps_alone = path == "decrypt" and self._may_encrypt(operation)
            raise (MayNotUnwrap if wraps_alone else RootKeyRefused)(
                f"{operation.url} knows the token, and does not allow {self._path(path)} with it. "
                f"Its policy has to allow {'read' if path == 'keys' else 'update'} there"
            )
        if answer.status is not Status.OK:
            raise answer.unreadable()

    def _may_encrypt(self, operation: Operation) -> bool:
        path = self._path("encrypt")
        answer = operation.ask(lambda: operation.client.sys.get_capabilities(paths=[path]))
        if answer.status is not Status.OK:  # it may not ask what it may
            return False
        return not {"update", "root"}.isdisjoint(answer.part("data").texts(path))

    def _not_encrypted(self, operation: Operation) -> EnvelopeError:
        """Ask for what an error 400 does not say."""
        if self.describe(operation).is_deleted:
            return self._deleted(operation)
        return RootKeyUnavailable(
            f"{operation.url} does not encrypt under {self} (400), and what it says of the key "
            "does not show why"
        )

    def _not_decrypted(self, operation: Operation, version: int) -> EnvelopeError:
        """Ask for what an error 400 does not say."""
        answer = self._read(operation)
        if answer.status is Status.FORBIDDEN:
            return WrappedKeyAltered(
                f"{operation.url} does not decrypt this master key version (400): the row was "
                f"altered, or the key {self} is gone, or its min_decryption_version was raised. "
                "Which it is cannot be told unless the policy allows to read the key"
            )
        key = self._described(operation, answer)
        if key.is_deleted:
            return self._deleted(operation)
        if version < key.oldest_version:
            return RootKeyRefused(
                f"{operation.url} decrypts with version {key.oldest_version} of {self} and later, "
                f"and this master key version is under {version}. Lower min_decryption_version "
                "until `rewrap_master_keys` has moved it"
            )
        if version > key.latest_version:
            return WrappedKeyAltered(
                f"this master key version names version {version} of {self}, which has "
                f"{key.latest_version} at {operation.url}: the row was altered, or Vault was "
                "restored from a snapshot that is older than the rotation"
            )
        return WrappedKeyAltered(
            f"the key {self} at {operation.url} does not decrypt this master key version: the row "
            "was altered, or another key had this name when it was wrapped"
        )

    def _deleted(self, operation: Operation) -> RootKeyRefused:
        return RootKeyRefused(
            f"the key {self} at {operation.url} is deleted, softly: it can be restored there"
        )


def _base64(content: Buffer | bytes) -> str:
    return b64encode(content).decode("ascii")


def _material(data: Answer) -> KeyBuffer:
    try:
        material = KeyBuffer(binascii.a2b_base64(data.text("plaintext"), strict_mode=True))
    except binascii.Error:
        material = None
    if material is None:
        raise data.unreadable()
    if len(material) != MATERIAL_BYTES:
        wipe(material)
        raise WrappedKeyAltered("what Vault decrypted is not the material of a master key version")
    return material
