"""The ways in which a token wraps 32 bytes with an AES key that never leaves it."""

import os
from typing import Any, Final, Protocol

import PyKCS11 as pkcs11
from PyKCS11.LowLevel import CK_GCM_PARAMS, CK_GCM_PARAMS_LENGTH, CK_MECHANISM

from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys.base import MATERIAL_BYTES, with_digest, without_digest
from envelope_fields.root_keys.pkcs11.module import IV_NOT_TAKEN
from envelope_fields.root_keys.pkcs11.session import Session

FORMAT: Final = 1
TAG_BYTES: Final = 16
IV_BYTES: Final = 12
IV_LENGTHS: Final = range(IV_BYTES, 17)
_SEALED_BYTES: Final = MATERIAL_BYTES + TAG_BYTES


class Mechanism(Protocol):
    """A way to wrap.

    Attributes:
        number: the second byte of what is stored.
        usage: the attributes that the key has to have.
    """

    number: int
    usage: tuple[int, int]

    def wrap(self, session: Session, material: bytearray, context: KeyVersionContext) -> bytes:
        """Return what is stored.

        Raises:
            RootKeyUnavailable, ValueError: the token answers what cannot be stored.
            PyKCS11Error: as the module answers.
        """

    def unwrap(
        self, session: Session, iv: bytes, ciphertext: bytes, context: KeyVersionContext
    ) -> KeyBuffer:
        """Return the material, which the caller wipes.

        Raises:
            WrappedKeyAltered: it is bound to another context.
            PyKCS11Error: as the module answers.
        """

    def fits(self, iv: bytes, ciphertext: bytes) -> bool:
        """Return whether these have the lengths of what it wraps."""


class AesGcm:
    """AES-GCM with the context as additional data (CKM_AES_GCM; SP 800-38D)."""

    number = 1
    usage = (pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT)

    def wrap(self, session: Session, material: bytearray, context: KeyVersionContext) -> bytes:
        # Random, as we would have it; zeros, into which AWS CloudHSM writes its own; and none, for
        # what appends its own. A token that takes the first is not asked for the others.
        for offered in (os.urandom(IV_BYTES), bytes(IV_BYTES), b""):
            parameters = _GcmParameters(offered, context)
            try:
                sealed = bytes(session.handle.encrypt(session.key, bytes(material), parameters))
                break
            except pkcs11.PyKCS11Error as error:
                if error.value not in IV_NOT_TAKEN or not offered:
                    raise
        ciphertext, appended = sealed[:_SEALED_BYTES], sealed[_SEALED_BYTES:]
        iv = appended or parameters.iv
        wrapped = stored(self, iv, ciphertext)
        if not any(iv):
            raise ValueError("the token does not say which IV it encrypted with: use a key wrap")
        return wrapped

    def unwrap(
        self, session: Session, iv: bytes, ciphertext: bytes, context: KeyVersionContext
    ) -> KeyBuffer:
        parameters = _GcmParameters(iv, context)
        opened = session.handle.decrypt(session.key, ciphertext, parameters)
        material = KeyBuffer(opened)
        for position in range(len(opened)):
            opened[position] = 0
        return material

    def fits(self, iv: bytes, ciphertext: bytes) -> bool:
        return len(iv) in IV_LENGTHS and len(ciphertext) == _SEALED_BYTES


class KeyWrap:
    """AES key wrap with padding (RFC 5649) of the material and a digest of its context.

    It takes keys, not bytes: the material is an object of the session in between.
    """

    usage = (pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP)
    _OBJECT: Final = (
        (pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
        (pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
        (pkcs11.CKA_TOKEN, False),
        (pkcs11.CKA_PRIVATE, True),
        (pkcs11.CKA_SENSITIVE, False),
        (pkcs11.CKA_EXTRACTABLE, True),
    )

    def __init__(self, number: int, mechanism: int) -> None:
        self.number = number
        self._mechanism = mechanism

    def wrap(self, session: Session, material: bytearray, context: KeyVersionContext) -> bytes:
        joined = with_digest(material, context)
        try:
            made = session.handle.createObject([*self._OBJECT, (pkcs11.CKA_VALUE, bytes(joined))])
        finally:
            wipe(joined)
        try:
            wrapped = session.handle.wrapKey(session.key, made, pkcs11.Mechanism(self._mechanism))
        finally:
            session.handle.destroyObject(made)
        return stored(self, b"", bytes(wrapped))

    def unwrap(
        self, session: Session, iv: bytes, ciphertext: bytes, context: KeyVersionContext
    ) -> KeyBuffer:
        handle, mechanism = session.handle, pkcs11.Mechanism(self._mechanism)
        made = handle.unwrapKey(session.key, ciphertext, list(self._OBJECT), mechanism)
        try:
            joined = _value(handle, made)
        finally:
            handle.destroyObject(made)
        if joined is None:
            raise ValueError("the token does not show what it unwrapped: use AES_GCM")
        try:
            return without_digest(joined, context)
        finally:
            wipe(joined)

    def fits(self, iv: bytes, ciphertext: bytes) -> bool:
        return not iv and len(ciphertext) in (72, 80)


def _value(handle: Any, made: Any) -> KeyBuffer | None:
    """Return the value of an object, in no frame that an error passes later: reports show those."""
    [value] = handle.getAttributeValue(made, [pkcs11.CKA_VALUE], allAsBinary=True)
    return None if value is None else KeyBuffer(value)


MECHANISMS: Final[dict[str, Mechanism]] = {
    "AES_GCM": AesGcm(),
    "AES_KEY_WRAP_KWP": KeyWrap(2, pkcs11.CKM_AES_KEY_WRAP_KWP),
    "AES_KEY_WRAP_PAD": KeyWrap(3, pkcs11.CKM_AES_KEY_WRAP_PAD),
}


def stored(mechanism: Mechanism, iv: bytes, ciphertext: bytes) -> bytes:
    """Return the bytes that are stored, as in the docstring of the package.

    Raises:
        RootKeyUnavailable: the token returned something of another length.
    """
    if not mechanism.fits(iv, ciphertext):
        raise RootKeyUnavailable(
            f"the token wrapped with {len(iv)} bytes of IV into {len(ciphertext)} bytes, which is "
            "not what it should return"
        )
    return _form(mechanism, iv) + iv + ciphertext


def parse(wrapped: bytes, mechanism: Mechanism) -> tuple[bytes, bytes]:
    """Return the IV and the ciphertext in what is stored.

    Raises:
        WrappedKeyAltered: it is something else, or of another mechanism.
    """
    form, end = wrapped[:3], 3 + sum(wrapped[2:3])
    iv, ciphertext = wrapped[3:end], wrapped[end:]
    for name, each in MECHANISMS.items():
        if form == _form(each, iv) and each.fits(iv, ciphertext):
            if each is mechanism:
                return iv, ciphertext
            raise WrappedKeyAltered(
                f"this master key version was wrapped with {name}, and the settings name another "
                "mechanism: give that one an entry of its own in ROOT_KEYS"
            )
    raise WrappedKeyAltered("no PKCS#11 root key wrapped this: it was cut, or altered")


def _form(mechanism: Mechanism, iv: bytes) -> bytes:
    return bytes([FORMAT, mechanism.number, len(iv)])


class _GcmParameters:
    """CK_GCM_PARAMS for PyKCS11, whose own do not give back the IV that a token writes there."""

    def __init__(self, iv: bytes, context: KeyVersionContext) -> None:
        self._iv, self._additional = pkcs11.ckbytelist(iv), pkcs11.ckbytelist(context.encode())
        self._parameters = CK_GCM_PARAMS()
        if iv:
            self._parameters.pIv = self._iv
        self._parameters.ulIvLen = len(iv)
        if hasattr(self._parameters, "ulIvBits"):  # in the header of 2.40, and not in its text
            self._parameters.ulIvBits = 8 * len(iv)
        self._parameters.pAAD = self._additional
        self._parameters.ulAADLen = len(self._additional)
        self._parameters.ulTagBits = 8 * TAG_BYTES
        self._mechanism = CK_MECHANISM()
        self._mechanism.mechanism = pkcs11.CKM_AES_GCM
        self._mechanism.pParameter = self._parameters
        self._mechanism.ulParameterLen = CK_GCM_PARAMS_LENGTH

    @property
    def iv(self) -> bytes:
        return bytes(self._iv)

    def to_native(self) -> Any:
        return self._mechanism
