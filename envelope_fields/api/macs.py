"""MACs of KMS over HTTP, where the settings switch the data operations on. Bytes are base64."""

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import kms
from envelope_fields.api.data import (
    KEY_ID,
    DataView,
    ForKey,
    KeyUsed,
    answer,
    data_endpoint,
    used_key,
)
from envelope_fields.api.fields import Base64, answers, takes
from envelope_fields.policy import Action

_CONTEXT = {"file": "scan-17"}
_MESSAGE = "eC1yYXk="
_MAC = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="


@takes({"example": {"key": "alias:documents", "message": _MESSAGE, "context": _CONTEXT}})
class ToAuthenticate(ForKey):
    """What a MAC is made of; the key is one that makes MACs."""

    message = Base64(most=kms.MESSAGE_LIMIT, allow_blank=True)


@takes(
    {
        "example": {
            "key": "alias:documents",
            "message": _MESSAGE,
            "context": _CONTEXT,
            "mac": _MAC,
        }
    }
)
class ToVerify(ToAuthenticate):
    """A message, and the MAC that it came with."""

    mac = Base64(most=kms.MAC_BYTES)


@answers("example", {"key_id": KEY_ID, "mac": _MAC})
class Authenticated(KeyUsed):
    """To be stored or sent with the message."""

    mac = serializers.CharField(help_text="32 bytes in base64.")


@answers("example", {"key_id": KEY_ID, "valid": True})
class Verified(KeyUsed):
    """Whether the message is the one that the MAC was made of."""

    valid = serializers.BooleanField()


class GenerateMac(DataView):
    """A MAC of a message."""

    @data_endpoint("generate_mac", Authenticated, ToAuthenticate)
    def post(self, request: Any) -> Response:
        """Return HMAC-SHA-256 of at most 4,096 bytes.

        It is of a domain of its own, so it says nothing of a blind index under the same key.
        """
        given = self.body(ToAuthenticate)
        key = used_key(given["key"], Action.GENERATE_MAC)
        return answer(key, mac=kms.generate_mac(key.pk, given["message"], given["context"]))


class VerifyMac(DataView):
    """Whether a MAC is that of a message."""

    @data_endpoint("verify_mac", Verified, ToVerify)
    def post(self, request: Any) -> Response:
        """Return whether a MAC was made of this message, by any enabled version of the key."""
        given = self.body(ToVerify)
        key = used_key(given["key"], Action.VERIFY_MAC)
        is_valid = kms.verify_mac(key.pk, given["message"], given["mac"], given["context"])
        return Response({"key_id": str(key.pk), "valid": is_valid})
