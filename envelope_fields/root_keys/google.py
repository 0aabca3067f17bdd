"""A root key in Google Cloud KMS: a symmetric key that encrypts and decrypts.

The context is the additional authenticated data (`Encrypt` and `Decrypt` of the API v1). Both ways
are checked end to end by CRC32C, as Google's guidelines on data integrity say. What is stored is
the ciphertext as the service returned it: it names its key version by itself.

The client talks REST. A gRPC channel has threads and locks, with which a child that was forked
later can hang; over REST there is a `requests` session, which a forked process replaces.
"""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import EnvelopeError, RootKeyRefused, WrappedKeyAltered
from envelope_fields.root_keys import base
from envelope_fields.root_keys.base import MATERIAL_BYTES, MayNotUnwrap, Wrapped
from envelope_fields.root_keys.options import seconds

try:
    import google.auth
    import google_crc32c
    from google.api_core.client_options import ClientOptions
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.api_core.retry import Retry
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request
    from google.cloud import kms_v1 as kms
    from google.cloud.kms_v1.services.key_management_service.transports import rest
    from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout
except ImportError as error:
    raise ImportError(
        f'{error}: install the client, `pip install "django-envelope-fields[google]"`'
    ) from None

_KEY_NAME: Final = re.compile(
    r"projects/[a-z0-9.:-]{1,80}/locations/[a-z0-9-]{1,40}"
    r"/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}"
)
_ENDPOINT: Final = re.compile(
    r"(https://)?[A-Za-z0-9.-]+(:\d{1,5})?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?"
)


class GoogleKmsRootKey(base.ServiceRootKey[Any]):
    """Wraps with a symmetric key of Google Cloud KMS, under its primary version.

    Credentials are the application default credentials, read anew by `refresh`.

    Args:
        key_name: the resource name of the key, without a version:
            `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
        endpoint: the host, or the https address, of a regional or private endpoint.
        timeout: seconds that one attempt may take to connect, and to answer. A call tries again
            for twice as long.
    """

    def __init__(self, *, key_name: str, endpoint: str | None = None, timeout: float = 5.0) -> None:
        if not _KEY_NAME.fullmatch(str(key_name)):
            raise ValueError(
                f"key_name is {key_name!r}; write projects/PROJECT/locations/LOCATION/keyRings/"
                "RING/cryptoKeys/KEY, without a version: the primary one wraps"
            )
        if endpoint is not None and not _ENDPOINT.fullmatch(str(endpoint)):
            raise ValueError(f"endpoint is {endpoint!r}; write a host, or its https address")
        self._key_name, self._endpoint, self._timeout = key_name, endpoint, seconds(timeout)

    def __repr__(self) -> str:
        return f"<GoogleKmsRootKey {self._key_name}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        answer = self._retried("encrypt", lambda client: self._encrypt(client, material, context))
        return Wrapped(answer.ciphertext, answer.name)

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        material: KeyBuffer = self._retried(
            "decrypt", lambda client: self._decrypt(client, wrapped, context)
        )
        if len(material) != MATERIAL_BYTES:
            wipe(material)
            raise WrappedKeyAltered(f"what {self} opened is not a master key: the row was altered")
        return material

    def check(self) -> None:
        # The role that encrypts and decrypts does not include to look at a key.
        with suppress(RootKeyRefused):
            purpose = self._retried("get", self._purpose)
            if purpose != "ENCRYPT_DECRYPT":
                raise ValueError(f"{self} is for {purpose}; name a key for ENCRYPT_DECRYPT")
        super().check()

    def current_wrapping_key_id(self) -> str:
        # As `Encrypt` says it: to look at the key is another right.
        return base.wrap_probe(self).wrapping_key_id

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

    def _retried(self, operation: str, question: Callable[[Any], Any]) -> Any:
        retry = Retry(lambda error: status_of(error) in AGAIN, 0.1, 1, timeout=2 * self._timeout)
        return self._ask(retry(lambda: question(self._connected())), operation)

    def _connect(self) -> Any:
        # By itself the library waits for two minutes for what it asks about the credentials.
        request = partial(Request(), timeout=self._timeout)
        credentials, _ = google.auth.default(default_scopes=SCOPES, request=request)
        options = ClientOptions(api_endpoint=self._endpoint) if self._endpoint else None
        return kms.KeyManagementServiceClient(
            credentials=credentials, transport=_transport, client_options=options
        )

    def _failure(self, error: Exception, operation: str) -> EnvelopeError:
        status = status_of(error)
        if status == "INVALID_ARGUMENT" and operation == "decrypt":
            return self._altered()
        if status == "INVALID_ARGUMENT" and operation == "encrypt":
            return RootKeyRefused(f"{self} does not encrypt: is its purpose ENCRYPT_DECRYPT?")
        if status == "PERMISSION_DENIED" and operation == "decrypt" and base.may_wrap(self):
            return MayNotUnwrap(
                f"{self} lets this process encrypt and not decrypt: where it has to, grant it "
                "cloudkms.cryptoKeyVersions.useToDecrypt"
            )
        if status in REFUSED:
            return RootKeyRefused(f"{self}: {REFUSED[status]}")
        if status in UNAVAILABLE:
            return self._unavailable(UNAVAILABLE[status])
        return self._unlisted(f"{operation}, {type(error).__name__} {status}".strip())


def _bound(context: KeyVersionContext) -> dict[str, Any]:
    bound = context.encode()
    return {
        "additional_authenticated_data": bound,
        "additional_authenticated_data_crc32c": google_crc32c.value(bound),
    }


# -- The client ------------------------------------------------------------------------------------


SCOPES: Final = ("https://www.googleapis.com/auth/cloudkms",)


def _transport(**options: Any) -> Any:
    """Return the library's REST transport, with a session that follows no redirect.

    Where a redirect leads, the material would be sent to. Tokens are asked for by a session without
    retries of its own, since they are below ours.
    """
    transport = rest.KeyManagementServiceRestTransport(**options)
    session = transport._session
    session._auth_request = Request()
    session.max_redirects = 0
    return transport


def _without_payload(record: logging.LogRecord) -> bool:
    """Take out of a debug record what was sent and answered, which holds the material."""
    for name in {"httpRequest", "httpResponse"} & vars(record).keys():
        setattr(record, name, "not shown, since it holds keys")
    return True


for _name in (rest.__name__, "google.auth.transport.requests"):
    logging.getLogger(_name).addFilter(_without_payload)


# -- Answers ---------------------------------------------------------------------------------------

# google.rpc.Code, and what to do about it.
REFUSED: Final = {
    "NOT_FOUND": "there is no such key, or none that this process may see: correct `key_name`",
    "PERMISSION_DENIED": "grant this process roles/cloudkms.cryptoKeyEncrypterDecrypter on the key",
    "FAILED_PRECONDITION": "its version is disabled or destroyed: enable or restore the version",
}
UNAVAILABLE: Final = {
    "UNAUTHENTICATED": "the credentials of this process are not accepted: they may have expired",
    "UNAVAILABLE": "Cloud KMS is unavailable",
    "DEADLINE_EXCEEDED": "Cloud KMS did not answer in time",
    "RESOURCE_EXHAUSTED": "Cloud KMS throttles this project: its quota is used up",
    "INTERNAL": "Cloud KMS had an internal error",
    # Ours, where nothing came from the service, or not as it was sent:
    "UNREACHABLE": "Cloud KMS could not be reached, or did not answer in time",
    "DAMAGED": "what was sent or answered was damaged on the way, each time",
    "NO_CREDENTIALS": "no credentials could be had for this process",
}
AGAIN: Final = UNAVAILABLE.keys() - {"UNAUTHENTICATED", "NO_CREDENTIALS"}
# For answers without a code, which balancers and proxies give.
_BY_HTTP: Final = {
    401: "UNAUTHENTICATED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Damaged(Exception):
    """The checksums of a request or of its answer are not those of what came."""


_BY_CLASS: Final[dict[Any, str]] = {
    Damaged: "DAMAGED",
    (ConnectionError, Timeout, ChunkedEncodingError): "UNREACHABLE",
    GoogleAuthError: "NO_CREDENTIALS",
}


def status_of(error: Exception) -> str:
    """Return the google.rpc.Code of an error, or ours; empty for what is in no list."""
    if isinstance(error, RetryError):
        error = error.cause
    for kinds, status in _BY_CLASS.items():
        if isinstance(error, kinds):
            return status
    if not isinstance(error, GoogleAPICallError):
        return ""
    try:
        answer = error.response.json()
        answer = (answer[0] if isinstance(answer, list) else answer)["error"]
        # Google's guidelines name this message: its own client goes by it, too.
        if str(answer.get("message")).startswith("The checksum in field"):
            return "DAMAGED"
        return answer["status"] if re.fullmatch("[A-Z_]{1,40}", answer["status"]) else ""
    except Exception:
        return _BY_HTTP.get(error.code, "")
