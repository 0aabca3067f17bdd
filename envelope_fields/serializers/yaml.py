"""YAML; without PyYAML, an error when it is first used, as Django has it."""

from __future__ import annotations

from django.core.serializers import pyyaml as django

from envelope_fields.serializers.values import EnvelopesMixin, TakeEnvelopesMixin


class Serializer(EnvelopesMixin, django.Serializer):
    """Django's serializer, with envelopes."""


class Deserializer(TakeEnvelopesMixin, django.Deserializer):
    """Django's deserializer, with envelopes."""
