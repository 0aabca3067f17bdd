"""Encrypted JSON."""

from __future__ import annotations

import json
from typing import Any

from django.db import models

from envelope_fields.fields.encrypted import EncryptedFieldMixin


class EncryptedJSONField(EncryptedFieldMixin, models.JSONField):
    """A `JSONField` whose values are stored encrypted, as UTF-8 JSON.

    `None` is SQL's NULL; JSON null is written as for `JSONField`, by `Value(None, JSONField())`
    or, from Django 6.1, `JSONNull()`.
    """

    def to_plaintext(self, value: Any) -> bytes:
        if hasattr(value, "as_sql"):  # JSON null, the one expression that comes this far
            return b"null"
        try:
            return json.dumps(self.get_prep_value(value), cls=self.encoder).encode()
        except Exception as error:
            cause = type(error).__name__
            del value  # what is raised must not hold the value, nor show it in its traceback
        raise TypeError(
            f"{self}: the value cannot be written as JSON ({cause}). An encoder= can say how."
        )

    def from_plaintext(self, plaintext: bytes) -> Any:
        # As text: json.loads() guesses the encoding of bytes, and we wrote UTF-8.
        return json.loads(plaintext.decode(), cls=self.decoder)
