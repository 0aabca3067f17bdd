"""Encrypted text."""

from __future__ import annotations

from typing import Any

from django.db import models

from envelope_fields.fields.encrypted import EncryptedFieldMixin


class EncryptedTextField(EncryptedFieldMixin, models.TextField):  # type: ignore[type-arg]
    """A `TextField` whose values are stored encrypted, as UTF-8."""

    def to_plaintext(self, value: Any) -> bytes:
        # The schema editor's default for a binary column means the empty text here.
        text = "" if isinstance(value, bytes) and not value else self.get_prep_value(value)
        try:
            return text.encode()
        except UnicodeEncodeError:
            del text, value  # what is raised must not hold the text, nor show it in its traceback
        raise ValueError(f"{self}: the text has lone surrogates and cannot be encoded as UTF-8.")

    def from_plaintext(self, plaintext: bytes) -> str:
        return plaintext.decode()
