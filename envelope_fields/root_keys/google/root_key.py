"""A root key in Google Cloud KMS: a symmetric key that encrypts and decrypts.

The context is the additional authenticated data (`Encrypt` and `Decrypt` of the API v1). Both ways
are checked end to end by CRC32C, as Google's guidelines on data integrity say. What is stored is
the ciphertext as the service returned it: it names its key version by itself.
"""

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

import google_crc32c
from google.api_core.retry import Retry
from google.cloud import kms_v1 as kms

from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import (
    EnvelopeError,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.root_keys.base import (
    MATERIAL_BYTES,
    MayNotUnwrap,
    RootKey,
    Wrapped,
    check_round_trip,
    may_wrap,
    seconds,
    wrap_probe,
)
from envelope_fields.root_keys.google.client import (
    AGAIN,
    REFUSED,
    UNAVAILABLE,
    Damaged,
    connected,
    status_of,
)

_logger = logging.getLogger("envelope_fields.root_keys")
_Answer = TypeVar("_Answer")

_KEY_NAME: Final = re.compile(
    r"projects/[a-z0-9.:-]{1,80}/locations/[a-z0-9-]{1,40}"
    r"/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}"
)
_ENDPOINT: Final = re.compile(
    r"(https://)?[A-Za-z0-9.-]+(:\d{1,5})?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?"
)


class GoogleKmsRootKey(RootKey):
    """Wraps with a symmetric key of Google Cloud KMS, under its primary version.

    Credentials are the application default credentials, read anew by `refresh`.

    Args:
        key_name: the resource name of the key, without a version:
            `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
        endpoint: the host, or the https address, of a regional or private endpoint.
        timeout: seconds that one attempt may take to connect, and to answer. A call tries again
            for twice as long.
    """

    asks_service: ClassVar = True

    def __init__(self, *, key_name: str, endpoint: str | None = None, timeout: float = 5.0) -> None:
        if not _KEY_NAME.fullmatch(str(key_name)):
            raise ValueError(
                f"key_name is {key_name!r}; write projects/PROJECT/locations/LOCATION/keyRings/"
                "RING/cryptoKeys/KEY, without a version: the primary one wraps"
            )
        if endpoint is not None and not _ENDPOINT.fullmatch(str(endpoint)):
            raise ValueError(f"endpoint is {endpoint!r}; write a host, or its https address")
        self._key_name, self._endpoint, self._timeout = key_name, endpoint, seconds(timeout)
        self._client: tuple[int, Any] | None = None

    def __repr__(self) -> str:
        return f"<GoogleKmsRootKey {self._key_name}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        answer = self._ask("encrypt", lambda client: self._encrypt(client, material, context))
        return Wrapped(answer.ciphertext, answer.name)

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        material = self._ask("decrypt", lambda client: self._decrypt(client, wrapped, context))
        if len(material) != MATERIAL_BYTES:
            wipe(material)
            raise WrappedKeyAltered(f"what {self} opened is no master key: the row was altered")
        return material

    def check(self) -> None:
        # The role that encrypts and decrypts does not include to look at a key.
        with suppress(RootKeyRefused):
            purpose = self._ask("get", self._purpose)
            if purpose != "ENCRYPT_DECRYPT":
                raise ValueError(f"{self} is for {purpose}; name a key for ENCRYPT_DECRYPT")
        check_round_trip(self)

    def current_wrapping_key_id(self) -> str:
        # As `Encrypt` says it: to look at the key is another right.
        return wrap_probe(self).wrapping_key_id

    def close(self) -> None:
        """Let go of the client; a call that is under way keeps it until it has its answer."""
        self._client = None

    def after_fork(self) -> None:
        self._client = None

    def _encrypt(self, client: Any, material: bytearray, context: KeyVersionContext) -> Any:
        request = kms.EncryptRequest(
            name=self._key_name,
            plaintext=bytes(material),
            plaintext_crc32c=google_crc32c.value(bytes(material)),
            **_bound(context),
        )
        answer = client.encrypt(request, retry=None, timeout=self._timeout)
        is_sound = (
            answer.verified_plaintext_crc32c
            and answer.verified_additional_authenticated_data_crc32c
            and answer.ciphertext_crc32c == google_crc32c.value(answer.ciphertext)
            and answer.name.startswith(f"{self._key_name}/cryptoKeyVersions/")
        )
        if not (is_sound and answer.ciphertext):
            raise Damaged
        return answer

    def _decrypt(self, client: Any, wrapped: bytes, context: KeyVersionContext) -> KeyBuffer:
        request = kms.DecryptRequest(
            name=self._key_name,
            ciphertext=wrapped,
            ciphertext_crc32c=google_crc32c.value(wrapped),
            **_bound(context),
        )
        answer = client.decrypt(request, retry=None, timeout=self._timeout)
        if answer.plaintext_crc32c != google_crc32c.value(answer.plaintext):
            raise Damaged
        return KeyBuffer(answer.plaintext)

    def _purpose(self, client: Any) -> str:
        request = kms.GetCryptoKeyRequest(name=self._key_name)
        key = client.get_crypto_key(request, retry=None, timeout=self._timeout)
        if key.name != self._key_name:
            raise Damaged
        return str(kms.CryptoKey.CryptoKeyPurpose(key.purpose).name)

    def _ask(self, operation: str, question: Callable[[Any], _Answer]) -> _Answer:
        retry = Retry(lambda error: status_of(error) in AGAIN, 0.1, 1, timeout=2 * self._timeout)
        try:
            answer: _Answer = retry(lambda: question(self._connected()))()
            return answer
        except Exception as error:
            failure = self._failure(operation, error)
        # Out of its reach: the error of a request holds the request, whose body is the material.
        raise failure

    def _connected(self) -> Any:
        client = self._client
        if client is None or client[0] != os.getpid():
            # Two threads may both make one, and each has its answer: no lock is held that a
            # child could inherit, and no thread waits for what another asks the metadata server.
            client = self._client = (os.getpid(), connected(self._endpoint, self._timeout))
        return client[1]

    def _failure(self, operation: str, error: Exception) -> EnvelopeError:
        status = status_of(error)
        if status == "INVALID_ARGUMENT" and operation == "decrypt":
            return WrappedKeyAltered(
                f"{self} does not open this master key version: it is not the key that wrapped "
                "it, or the row was altered"
            )
        if status == "INVALID_ARGUMENT" and operation == "encrypt":
            return RootKeyRefused(f"{self} does not encrypt: is its purpose ENCRYPT_DECRYPT?")
        if status == "PERMISSION_DENIED" and operation == "decrypt" and may_wrap(self):
            return MayNotUnwrap(
                f"{self} lets this process encrypt and not decrypt: where it has to, grant it "
                "cloudkms.cryptoKeyVersions.useToDecrypt"
            )
        if status in REFUSED:
            return RootKeyRefused(f"{self}: {REFUSED[status]}")
        if status in UNAVAILABLE:
            return RootKeyUnavailable(f"{self}: {UNAVAILABLE[status]}. Try again")
        kind = f"{type(error).__name__} {status}".strip()
        _logger.warning("Cloud KMS, %s: an answer that is in no list: %s", operation, kind)
        return RootKeyUnavailable(f"{self}: an answer that is in no list: {kind}. Try again")


def _bound(context: KeyVersionContext) -> dict[str, Any]:
    bound = context.encode()
    return {
        "additional_authenticated_data": bound,
        "additional_authenticated_data_crc32c": google_crc32c.value(bound),
    }
