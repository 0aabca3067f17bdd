"""Grants as JSON. The names are those of the commands."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from envelope_fields.api.fields import Moment, Strict, Text
from envelope_fields.policy import Action

_EXAMPLE = {
    "grant": 7,
    "key": "billing",
    "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1",
    "principal_type": "auth.user",
    "principal_id": "12",
    "name": "bob",
    "actions": ["decrypt"],
    "context": "clinic.patient.notes",
    "expires_at": None,
    "void": "",
}


@extend_schema_serializer(examples=[OpenApiExample("a grant", _EXAMPLE, response_only=True)])
class GrantContent(serializers.Serializer[Any]):
    """What is told of a grant; `void` says why it is of no use."""

    grant = serializers.IntegerField(source="grant.pk")
    key = serializers.CharField(source="grant.master_key.alias", allow_null=True)
    key_id = serializers.UUIDField(source="grant.master_key_id")
    principal_type = serializers.CharField(source="grant.principal_type")
    principal_id = serializers.CharField(source="grant.principal_id")
    name = serializers.CharField(allow_blank=True)
    actions = serializers.ListField(child=serializers.CharField(), source="grant.actions")
    context = serializers.CharField(  # type: ignore[assignment]  # its name outside
        source="grant.context", allow_blank=True
    )
    expires_at = Moment(source="grant.expires_at", allow_null=True)
    void = serializers.CharField(allow_blank=True)


class NewGrant(Strict):
    """What is granted, where, and until when."""

    actions = serializers.ListField(
        child=serializers.ChoiceField([str(action) for action in Action]),
        allow_empty=False,
        max_length=len(Action),
    )
    context = Text(  # type: ignore[assignment]  # its name outside
        required=False,
        allow_blank=True,
        max_length=300,
        help_text="`app.model` or `app.model.field`, to limit encrypt and decrypt to its values.",
    )
    expires_at = Moment(required=False, allow_null=True)


class GrantToUser(NewGrant):
    """A grant to a user, by their name."""

    user = Text()


class GrantToGroup(NewGrant):
    """A grant to the users of a group, by its name."""

    group = Text()
