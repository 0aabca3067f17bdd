"""JSON Lines."""

from __future__ import annotations

from django.core.serializers import jsonl as django

from envelope_fields.serializers.values import EnvelopesMixin, TakeEnvelopesMixin


class Serializer(EnvelopesMixin, django.Serializer):
    """Django's serializer, with envelopes."""


class Deserializer(TakeEnvelopesMixin, django.Deserializer):
    """Django's deserializer, with envelopes."""
