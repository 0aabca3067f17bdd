"""Encrypted JSON."""

import json
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Unpack

from django.core.exceptions import ValidationError
from django.db import models

from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.types import Options, Typed

# Databases refuse NaN and Infinity in a `JSONField`; they do not see what is in an envelope.
_encode = json.JSONEncoder(allow_nan=False).encode


class EncryptedJSONField(Typed[Any, Any], EncryptedFieldMixin, models.JSONField):
    """A `JSONField` whose values are stored encrypted, as UTF-8 JSON.

    `None` is SQL's NULL; JSON null is written as for `JSONField`, by `Value(None, JSONField())`
    or, from Django 6.1, `JSONNull()`.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            verbose_name: Any = ...,
            name: str | None = ...,
            encoder: type[json.JSONEncoder] | None = ...,
            decoder: type[json.JSONDecoder] | None = ...,
            **options: Unpack[Options[bool]],
        ) -> None: ...

    from_column = staticmethod(bytes.decode)

    def to_plaintext(self, value: Any) -> bytes:
        if hasattr(value, "as_sql"):  # JSON null, the one expression that comes this far
            return b"null"
        try:
            return self._encoded(self.get_prep_value(value)).encode()
        except Exception as error:
            cause = type(error)
            del value  # what is raised must not hold the value, nor show it in its traceback
        raise (ValueError if issubclass(cause, ValueError) else TypeError)(
            f"{self}: the value cannot be written as JSON ({cause.__name__}). An encoder= can "
            "say how; NaN and infinity are not valid JSON."
        )

    def _encoded(self, value: Any) -> str:
        if self.encoder is None:
            return _encode(value)
        return json.dumps(value, cls=self.encoder, allow_nan=False)

    @cached_property
    def from_text(self) -> Callable[[str], Any]:
        return json.loads if self.decoder is None else partial(json.loads, cls=self.decoder)

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        try:
            self._encoded(self.get_prep_value(value))
        except ValueError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
