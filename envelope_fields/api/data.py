"""The data operations of AWS KMS over HTTP, where the settings switch them on. Bytes are base64."""

import base64
from collections.abc import Callable
from traceback import extract_tb
from typing import Any

from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import keyring, kms
from envelope_fields.api import requests, views
from envelope_fields.api.fields import Base64, EncryptionContext, KeyName, Strict, answers, takes
from envelope_fields.api.problems import no_address
from envelope_fields.api.schema import endpoint
from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action

_KEY_ID = "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1"
_CONTEXT = {"file": "scan-17"}
_PLAINTEXT = "eC1yYXk="
_CIPHERTEXT = "AV8MHBudjnpC…"
_MAC = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
_MESSAGE = {"key": "alias:documents", "message": "eC1yYXk=", "context": _CONTEXT}


@takes({"example": {"key": "alias:billing", "context": _CONTEXT}})
class ForKey(Strict):
    """Under which key, and what the result is bound to."""

    key = KeyName()
    context = EncryptionContext(  # type: ignore[assignment]  # its name outside
        default=dict, help_text="To be given again to decrypt; not secret."
    )


@takes({"example": {"key": "alias:billing", "plaintext": _PLAINTEXT, "context": _CONTEXT}})
class ToEncrypt(ForKey):
    """What is to be encrypted."""

    plaintext = Base64(most=kms.PLAINTEXT_LIMIT, allow_blank=True)


@takes({"example": {"ciphertext": _CIPHERTEXT, "context": _CONTEXT}})
class ToDecrypt(Strict):
    """What is to be decrypted; `key` is the one that it must be under."""

    ciphertext = Base64(most=kms.PLAINTEXT_LIMIT + layout.OVERHEAD_BYTES)
    context = EncryptionContext(default=dict)  # type: ignore[assignment]  # its name outside
    key = KeyName(required=False)


@takes({"example": {
    "ciphertext": _CIPHERTEXT, "context": _CONTEXT, "destination_key": "alias:archive",
}})  # fmt: skip
class ToReEncrypt(ToDecrypt):
    """What is to be moved, and where to; without a `destination_context` it keeps its own."""

    destination_key = KeyName()
    destination_context = EncryptionContext(required=False)


class KeyUsed(serializers.Serializer[Any]):
    """Which key it is under."""

    key_id = serializers.UUIDField()


@answers("example", {"key_id": _KEY_ID, "ciphertext": _CIPHERTEXT})
class Encrypted(KeyUsed):
    """To be stored."""

    ciphertext = serializers.CharField(help_text="Base64.")


@answers("example", {"key_id": _KEY_ID, "plaintext": _PLAINTEXT})
class Decrypted(KeyUsed):
    """To be used, and not stored."""

    plaintext = serializers.CharField(help_text="Base64.", allow_blank=True)


@answers("example", {"key_id": _KEY_ID, "plaintext": _MAC, "ciphertext": _CIPHERTEXT})
class DataKey(Encrypted):
    """A data key, to encrypt with and to forget; and its ciphertext, to store."""

    plaintext = serializers.CharField(help_text="32 bytes in base64.")


@answers("example", {"key_id": _KEY_ID, "source_key_id": _KEY_ID, "ciphertext": _CIPHERTEXT})
class ReEncrypted(Encrypted):
    """To be stored instead."""

    source_key_id = serializers.UUIDField()


@takes({"example": _MESSAGE})
class ToAuthenticate(ForKey):
    """What a MAC is made of; the key is one that makes MACs."""

    message = Base64(most=kms.MESSAGE_LIMIT, allow_blank=True)


@takes({"example": {**_MESSAGE, "mac": _MAC}})
class ToVerify(ToAuthenticate):
    """A message, and the MAC that it came with."""

    mac = Base64(most=kms.MAC_BYTES)


@answers("example", {"key_id": _KEY_ID, "mac": _MAC})
class Authenticated(KeyUsed):
    """To be stored or sent with the message."""

    mac = serializers.CharField(help_text="32 bytes in base64.")


@answers("example", {"key_id": _KEY_ID, "valid": True})
class Verified(KeyUsed):
    """Whether the message is the one that the MAC was made of."""

    valid = serializers.BooleanField()


class DataOperationFailed(Exception):
    """A fault of the server in a data operation: what it was, and where, and none of the data."""


class DataView(views.ApiView):
    """An operation on data. Its answers are stored nowhere, and its faults show no data."""

    permissions = (views.USE,)
    own_throttle_scope = requests.DATA

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().dispatch(request, *args, **kwargs)
        except Exception as error:
            fault = _fault(error)
        # Raised from here, since an error report shows the variables of the frames that an error
        # passed: the framework's hold what was sent.
        raise DataOperationFailed(fault)

    def check_permissions(self, request: Any) -> None:
        if not configuration().api.data_operations:
            raise no_address()
        super().check_permissions(request)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(*args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


def data_endpoint(name: str, answers: type[Any], body: type[Strict]) -> Callable[[Any], Any]:
    headers = {200: ("Cache-Control",)}
    return endpoint(name, {200: answers}, body=body, refusals=(409, 502, 503), headers=headers)


class GenerateDataKey(DataView):
    """A data key, to encrypt with elsewhere."""

    attempted = Action.GENERATE_DATA_KEY

    @data_endpoint("generate_data_key", DataKey, ForKey)
    def post(self, request: Any) -> Response:
        """Return a new data key, in plaintext and encrypted.

        Encrypt with the plaintext and forget it; store the ciphertext, which `decrypt` opens.
        """
        given = self.body()
        key = _used_key(given["key"], self.attempted)
        with kms.generate_data_key(key.pk, given["context"]) as made:
            return answer(key, plaintext=made.plaintext, ciphertext=made.ciphertext)


class GenerateDataKeyWithoutPlaintext(DataView):
    """A data key, only encrypted."""

    attempted = Action.GENERATE_DATA_KEY

    @data_endpoint("generate_data_key_without_plaintext", Encrypted, ForKey)
    def post(self, request: Any) -> Response:
        """Return a new data key, only encrypted."""
        given = self.body()
        key = _used_key(given["key"], self.attempted)
        made = kms.generate_data_key_without_plaintext(key.pk, given["context"])
        return answer(key, ciphertext=made)


class Encrypt(DataView):
    """Small data, encrypted."""

    attempted = Action.ENCRYPT

    @data_endpoint("encrypt", Encrypted, ToEncrypt)
    def post(self, request: Any) -> Response:
        """Encrypt at most 4,096 bytes."""
        given = self.body()
        key = _used_key(given["key"], self.attempted)
        made = kms.encrypt(key.pk, given["plaintext"], given["context"])
        return answer(key, ciphertext=made)


class Decrypt(DataView):
    """What the other operations encrypted."""

    attempted = Action.DECRYPT

    @data_endpoint("decrypt", Decrypted, ToDecrypt)
    def post(self, request: Any) -> Response:
        """Decrypt what was encrypted here; the ciphertext names its key."""
        given = self.body()
        key = _key_of(given["ciphertext"], self.attempted)
        pinned = _pinned(given, self.attempted)
        return answer(key, plaintext=kms.decrypt(given["ciphertext"], given["context"], key=pinned))


class ReEncrypt(DataView):
    """A ciphertext, moved to another key or context."""

    attempted = Action.RE_ENCRYPT

    @data_endpoint("re_encrypt", ReEncrypted, ToReEncrypt)
    def post(self, request: Any) -> Response:
        """Encrypt the same plaintext under another key or context; the plaintext stays here."""
        given = self.body()
        source = _key_of(given["ciphertext"], self.attempted)
        pinned = _pinned(given, self.attempted)
        key = _used_key(given["destination_key"], self.attempted)
        made = kms.re_encrypt(
            given["ciphertext"], given["context"], key.pk, given.get("destination_context"), pinned
        )
        return answer(key, ciphertext=made, source_key_id=str(source.pk))


class GenerateMac(DataView):
    """A MAC of a message."""

    attempted = Action.GENERATE_MAC

    @data_endpoint("generate_mac", Authenticated, ToAuthenticate)
    def post(self, request: Any) -> Response:
        """Return HMAC-SHA-256 of at most 4,096 bytes.

        It is of a domain of its own, so it says nothing of a blind index under the same key.
        """
        given = self.body()
        key = _used_key(given["key"], self.attempted)
        return answer(key, mac=kms.generate_mac(key.pk, given["message"], given["context"]))


class VerifyMac(DataView):
    """Whether a MAC is that of a message."""

    attempted = Action.VERIFY_MAC

    @data_endpoint("verify_mac", Verified, ToVerify)
    def post(self, request: Any) -> Response:
        """Return whether a MAC was made of this message, by any enabled version of the key."""
        given = self.body()
        key = _used_key(given["key"], self.attempted)
        valid = kms.verify_mac(key.pk, given["message"], given["mac"], given["context"])
        return answer(key, valid=valid)


def _used_key(named: str, action: Action) -> MasterKey:
    return views.seen_key(named, action, action)


def _key_of(ciphertext: bytes, action: Action) -> MasterKey:
    """Return the key that a ciphertext is under."""
    version = keyring.version_of(layout.parse(ciphertext).version_id)
    rows = MasterKey.objects.using(configuration().database)
    return views.see(rows.filter(pk=version.key_id).first(), action, action)


def _pinned(given: dict[str, Any], action: Action) -> Any:
    return _used_key(given["key"], action).pk if "key" in given else None


def answer(key: MasterKey, **parts: Any) -> Response:
    encoded = {
        name: part if isinstance(part, str | bool) else base64.b64encode(part).decode()
        for name, part in parts.items()
    }
    return Response({"key_id": str(key.pk), **encoded})


def _fault(error: Exception) -> str:
    frames = extract_tb(error.__traceback__)[-5:]
    places = ", ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"
