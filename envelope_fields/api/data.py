"""The data operations of AWS KMS over HTTP, where the settings switch them on."""

from __future__ import annotations

import base64
from traceback import extract_tb
from typing import Any

from django.http import HttpRequest
from rest_framework.response import Response

from envelope_fields import keyring, kms
from envelope_fields.api import data_shapes as shapes
from envelope_fields.api import rights, throttling
from envelope_fields.api.naming import named_key
from envelope_fields.api.operations import operation
from envelope_fields.api.view import ApiView
from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action

_REFUSALS = (409, 502, 503)


class DataOperationFailed(Exception):
    """A fault of the server in a data operation: what it was, and where, and none of the data."""


class DataView(ApiView):
    """An operation on data. Its answers are stored nowhere, and its faults show no data."""

    door = (rights.USE,)
    own_throttle_scope = throttling.DATA

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().dispatch(request, *args, **kwargs)
        except Exception as error:
            fault = _told(error)
        # Raised from here, since an error report shows the variables of the frames that an error
        # passed: the framework's hold what was sent.
        raise DataOperationFailed(fault)

    def check_permissions(self, request: Any) -> None:
        if not configuration().api.data_operations:
            raise rights.nothing_here()
        super().check_permissions(request)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(*args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


class GenerateDataKey(DataView):
    """A data key, to encrypt with elsewhere."""

    @operation(
        "generate_data_key", {200: shapes.DataKey}, body=shapes.ForKey, refusals=_REFUSALS,
        headers={200: ("Cache-Control",)},
    )  # fmt: skip
    def post(self, request: Any) -> Response:
        """Return a new data key, in plaintext and encrypted.

        Encrypt with the plaintext and forget it; store the ciphertext, which `decrypt` opens.
        """
        given = self.body(shapes.ForKey)
        key = _key(given["key"], Action.GENERATE_DATA_KEY)
        with kms.generate_data_key(key.pk, given["context"]) as made:
            return _answer(key, plaintext=made.plaintext, ciphertext=made.ciphertext)


class GenerateDataKeyWithoutPlaintext(DataView):
    """A data key, only encrypted."""

    @operation(
        "generate_data_key_without_plaintext", {200: shapes.Encrypted}, body=shapes.ForKey,
        refusals=_REFUSALS, headers={200: ("Cache-Control",)},
    )  # fmt: skip
    def post(self, request: Any) -> Response:
        """Return a new data key, only encrypted."""
        given = self.body(shapes.ForKey)
        key = _key(given["key"], Action.GENERATE_DATA_KEY)
        made = kms.generate_data_key_without_plaintext(key.pk, given["context"])
        return _answer(key, ciphertext=made)


class Encrypt(DataView):
    """Small data, encrypted."""

    @operation(
        "encrypt", {200: shapes.Encrypted}, body=shapes.ToEncrypt, refusals=_REFUSALS,
        headers={200: ("Cache-Control",)},
    )  # fmt: skip
    def post(self, request: Any) -> Response:
        """Encrypt at most 4,096 bytes."""
        given = self.body(shapes.ToEncrypt)
        key = _key(given["key"], Action.ENCRYPT)
        made = kms.encrypt(key.pk, given["plaintext"], given["context"])
        return _answer(key, ciphertext=made)


class Decrypt(DataView):
    """What the other operations encrypted."""

    @operation(
        "decrypt", {200: shapes.Decrypted}, body=shapes.ToDecrypt, refusals=_REFUSALS,
        headers={200: ("Cache-Control",)},
    )  # fmt: skip
    def post(self, request: Any) -> Response:
        """Decrypt what was encrypted here; the ciphertext names its key."""
        given = self.body(shapes.ToDecrypt)
        key = _key_of(given["ciphertext"], Action.DECRYPT)
        pinned = _pinned(given, Action.DECRYPT)
        return _answer(
            key, plaintext=kms.decrypt(given["ciphertext"], given["context"], key=pinned)
        )


class ReEncrypt(DataView):
    """A ciphertext, moved to another key or context."""

    @operation(
        "re_encrypt", {200: shapes.ReEncrypted}, body=shapes.ToReEncrypt, refusals=_REFUSALS,
        headers={200: ("Cache-Control",)},
    )  # fmt: skip
    def post(self, request: Any) -> Response:
        """Encrypt the same plaintext under another key or context; the plaintext stays here."""
        given = self.body(shapes.ToReEncrypt)
        source = _key_of(given["ciphertext"], Action.RE_ENCRYPT)
        pinned = _pinned(given, Action.RE_ENCRYPT)
        key = _key(given["destination_key"], Action.RE_ENCRYPT)
        made = kms.re_encrypt(
            given["ciphertext"], given["context"], key.pk, given.get("destination_context"), pinned
        )
        return _answer(key, ciphertext=made, source_key_id=str(source.pk))


def _key(named: str, action: Action) -> MasterKey:
    return rights.see(named_key(named), action, action)


def _key_of(ciphertext: bytes, action: Action) -> MasterKey:
    """Return the key that a ciphertext is under."""
    version = keyring.version_of(layout.parse(ciphertext).version_id)
    rows = MasterKey.objects.using(configuration().database)
    return rights.see(rows.filter(pk=version.key_id).first(), action, action)


def _pinned(given: dict[str, Any], action: Action) -> Any:
    return _key(given["key"], action).pk if "key" in given else None


def _answer(key: MasterKey, **parts: Any) -> Response:
    encoded = {
        name: part if isinstance(part, str) else base64.b64encode(part).decode()
        for name, part in parts.items()
    }
    return Response({"key_id": str(key.pk), **encoded})


def _told(error: Exception) -> str:
    frames = extract_tb(error.__traceback__)[-5:]
    places = ", ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"
