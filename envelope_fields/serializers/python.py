"""Python's own types: what the other formats are made of."""

from __future__ import annotations

from django.core.serializers import python as django
from django.core.serializers.python import Deserializer as Deserializer

from envelope_fields.serializers.values import EnvelopesMixin


class Serializer(EnvelopesMixin, django.Serializer):
    """Django's serializer, with envelopes."""
