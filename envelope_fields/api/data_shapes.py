"""What data operations take and give: bytes are base64."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from envelope_fields.api.fields import Base64, EncryptionContext, KeyName, Strict
from envelope_fields.crypto.format import OVERHEAD_BYTES
from envelope_fields.kms import PLAINTEXT_LIMIT

_KEY_ID = "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1"
_CONTEXT = {"file": "scan-17"}
_PLAINTEXT = "eC1yYXk="
_CIPHERTEXT = "AV8MHBudjnpC…"


def _example(value: dict[str, Any], *, is_answer: bool = False) -> Any:
    example = OpenApiExample("example", value, response_only=is_answer, request_only=not is_answer)
    return extend_schema_serializer(examples=[example])


@_example({"key": "alias:billing", "context": _CONTEXT})
class ForKey(Strict):
    """Under which key, and what the result is bound to."""

    key = KeyName()
    context = EncryptionContext(  # type: ignore[assignment]  # its name outside
        default=dict, help_text="To be given again to decrypt; not secret."
    )


@_example({"key": "alias:billing", "plaintext": _PLAINTEXT, "context": _CONTEXT})
class ToEncrypt(ForKey):
    """What is to be encrypted."""

    plaintext = Base64(most=PLAINTEXT_LIMIT, allow_blank=True)


@_example({"ciphertext": _CIPHERTEXT, "context": _CONTEXT})
class ToDecrypt(Strict):
    """What is to be decrypted; `key` is the one that it must be under."""

    ciphertext = Base64(most=PLAINTEXT_LIMIT + OVERHEAD_BYTES)
    context = EncryptionContext(default=dict)  # type: ignore[assignment]  # its name outside
    key = KeyName(required=False)


@_example({"ciphertext": _CIPHERTEXT, "context": _CONTEXT, "destination_key": "alias:archive"})
class ToReEncrypt(ToDecrypt):
    """What is to be moved, and where to; without a `destination_context` it keeps its own."""

    destination_key = KeyName()
    destination_context = EncryptionContext(required=False)


class KeyUsed(serializers.Serializer[Any]):
    """Which key it is under."""

    key_id = serializers.UUIDField()


@_example({"key_id": _KEY_ID, "ciphertext": _CIPHERTEXT}, is_answer=True)
class Encrypted(KeyUsed):
    """To be stored."""

    ciphertext = serializers.CharField(help_text="Base64.")


@_example({"key_id": _KEY_ID, "plaintext": _PLAINTEXT}, is_answer=True)
class Decrypted(KeyUsed):
    """To be used, and not stored."""

    plaintext = serializers.CharField(help_text="Base64.", allow_blank=True)


@_example(
    {
        "key_id": _KEY_ID,
        "plaintext": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
        "ciphertext": _CIPHERTEXT,
    },
    is_answer=True,
)
class DataKey(Encrypted):
    """A data key, to encrypt with and to forget; and its ciphertext, to store."""

    plaintext = serializers.CharField(help_text="32 bytes in base64.")


@_example({"key_id": _KEY_ID, "source_key_id": _KEY_ID, "ciphertext": _CIPHERTEXT}, is_answer=True)
class ReEncrypted(Encrypted):
    """To be stored instead."""

    source_key_id = serializers.UUIDField()
