"""Master keys as JSON. The names are those of the commands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from envelope_fields.api.fields import Moment, Strict, Text, TrueOrFalse, Whole
from envelope_fields.api.pages import PageQuery
from envelope_fields.lifecycle.representation import due_at
from envelope_fields.models import KeyManager, KeyState, MasterKey

LONGEST_DESCRIPTION = 8192
_OVER = (KeyState.PENDING_DELETION, KeyState.DESTROYED)
_EXAMPLE = {
    "id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1",
    "alias": "billing",
    "description": "Invoices",
    "state": "enabled",
    "managed_by": "customer",
    "application_use": True,
    "creator_type": "application",
    "creator_id": "",
    "serves_fields": True,
    "rotation_period": 365,
    "next_rotation": "2031-03-01T09:30:00Z",
    "current_version": 2,
    "rotated_at": "2030-03-01T09:30:00Z",
    "created_at": "2029-03-01T09:30:00Z",
    "deletion_at": None,
    "destroyed_at": None,
}


@extend_schema_serializer(examples=[OpenApiExample("a key", _EXAMPLE, response_only=True)])
class KeyContent(serializers.Serializer[Any]):
    """What is told of a master key. Its material is told nowhere."""

    id = serializers.UUIDField()
    alias = serializers.CharField(allow_null=True)
    description = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(KeyState.choices)
    managed_by = serializers.ChoiceField(KeyManager.choices)
    application_use = serializers.BooleanField()
    creator_type = serializers.CharField(help_text="Who made it, named as grants name users.")
    creator_id = serializers.CharField(allow_blank=True)
    serves_fields = serializers.BooleanField(
        help_text="Whether fields that name its alias may write under it."
    )
    rotation_period = serializers.IntegerField(allow_null=True, help_text="In days.")
    next_rotation = serializers.SerializerMethodField()
    current_version = serializers.IntegerField(
        source="current_number", help_text="Its number; values are written under it."
    )
    rotated_at = Moment()
    created_at = Moment()
    deletion_at = Moment(allow_null=True)
    destroyed_at = Moment(allow_null=True)

    @extend_schema_field(Moment(allow_null=True))
    def get_next_rotation(self, key: Any) -> Any:
        if key.state in _OVER:
            return None
        due: datetime | None = due_at(key.rotation_period, key.rotated_at)
        return due and Moment().to_representation(due)


class Alias(Text):
    """The name by which fields find a key."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        [known] = [
            validator
            for validator in MasterKey._meta.get_field("alias").validators
            if isinstance(validator, RegexValidator)
        ]
        pattern: Any = known.regex
        self.must_match(pattern.pattern, known.message)


class KeyChange(Strict):
    """What is changed of a key; what is left out stays."""

    description = Text(required=False, allow_blank=True, max_length=LONGEST_DESCRIPTION)
    rotation_period = Whole(required=False, allow_null=True, min_value=90, max_value=2560)
    application_use = TrueOrFalse(required=False)


class AliasChange(Strict):
    """The alias that a key is given; another key may lose it."""

    alias = Alias()


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "a key that rotates yearly",
            {"alias": "billing", "description": "Invoices", "rotation_period": 365},
            request_only=True,
        )
    ]
)
class NewKey(KeyChange):
    """A key to be made."""

    alias = Alias()


class KeyQuery(PageQuery):
    """Which keys."""

    state = serializers.ChoiceField(KeyState.choices, required=False)
    alias = Text(required=False, help_text="The key with this alias.")
    due = TrueOrFalse(required=False, help_text="Whether its rotation period is over.")
    search = Text(required=False, help_text="Part of the alias or the description.")
