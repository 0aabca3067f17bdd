"""JSON."""

from __future__ import annotations

from django.core.serializers import json as django
from django.core.serializers.json import Deserializer as Deserializer

from envelope_fields.serializers.values import EnvelopesMixin


class Serializer(EnvelopesMixin, django.Serializer):
    """Django's serializer, with envelopes."""
