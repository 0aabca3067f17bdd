"""YAML; without PyYAML, an error when it is first used, as Django has it."""

from __future__ import annotations

from django.core.serializers import pyyaml as django
from django.core.serializers.pyyaml import Deserializer as Deserializer

from envelope_fields.serializers.values import EnvelopesMixin


class Serializer(EnvelopesMixin, django.Serializer):
    """Django's serializer, with envelopes."""
