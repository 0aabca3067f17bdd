"""Drafts of django-modelcluster and Wagtail: rows that are kept as text, and made of it again.

A draft holds the text of an envelope, as a fixture does. It becomes an object through `to_python()`
and the constructor, where nothing else passes the text of an envelope: forms and serializers refuse
it as a value before. The object holds it as a sealed value, and opens it for the principal who
looks.
"""

import sys
from typing import Any

from django.db.models import Model
from django.db.models.signals import class_prepared

from envelope_fields.crypto import format
from envelope_fields.fields.masks import Mask, masked_in
from envelope_fields.fields.prepared import StoredEnvelope
from envelope_fields.fields.stand_ins import is_envelope


class DraftsMixin:
    """What drafts are to an encrypted field of a model that has them."""

    has_drafts: bool
    label: Any
    value_from_object: Any

    def to_python(self, value: Any) -> Any:
        if self.has_drafts and isinstance(value, str) and is_envelope(value):
            return StoredEnvelope(format.decode_text(value.strip()), self.label)
        return super().to_python(value)  # type: ignore[misc]  # of the field class

    def value_to_string(self, obj: Model) -> Any:
        # No name here holds the value: an error report would show it.
        if self.has_drafts and isinstance(self.value_from_object(obj), Mask):
            return _kept_in_a_draft(self, self.value_from_object(obj), obj)
        return super().value_to_string(obj)  # type: ignore[misc]  # of the field class


def _kept_in_a_draft(field: Any, mask: Mask, obj: Model) -> str:
    """Return the text of the envelope of a value that the principal may not read."""
    if mask.sealed.prepared(field, obj, add=False) is None:
        raise masked_in(field, obj, mask, add=False)
    return format.encode_text(mask.sealed.envelope)


def watch() -> None:
    """Look at each model when it is declared."""
    class_prepared.connect(_prepared, dispatch_uid="envelope_fields.drafts.prepared")


def _prepared(*, sender: Any, **_: Any) -> None:
    encrypted = [field for field in sender._meta.fields if isinstance(field, DraftsMixin)]
    if encrypted and _has_drafts(sender):
        for field in encrypted:
            field.has_drafts = True


def _has_drafts(model: Any) -> bool:
    """Whether drafts of a model are kept, its own or within those of a parent."""
    if hasattr(model, "from_serializable_data"):
        return True
    cluster = sys.modules.get("modelcluster.fields")
    return cluster is not None and any(
        isinstance(field, cluster.ParentalKey) for field in model._meta.fields
    )
