"""Grants on a key: listed, handed out and taken away."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema_serializer,
)
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from envelope_fields import grants
from envelope_fields.api import rights
from envelope_fields.api.fields import Query, Strict, Text
from envelope_fields.api.grant_shapes import GrantContent, GrantToGroup, GrantToUser
from envelope_fields.api.naming import named_key
from envelope_fields.api.operations import operation
from envelope_fields.api.pages import PageQuery, Pages
from envelope_fields.api.versioning import url_of
from envelope_fields.api.view import ApiView
from envelope_fields.grants.holders import named_group, named_user
from envelope_fields.grants.listing import described
from envelope_fields.models import KeyGrant, MasterKey
from envelope_fields.policy import Action

_NEW: Any = PolymorphicProxySerializer(
    "NewGrant", [GrantToUser, GrantToGroup], resource_type_field_name=None
)
extend_schema_serializer(
    examples=[
        OpenApiExample("to a user", {"user": "bob", "actions": ["decrypt"]}, request_only=True),
        OpenApiExample(
            "to a group", {"group": "nurses", "actions": ["encrypt", "decrypt"]}, request_only=True
        ),
    ]
)(_NEW)


_NAMED = {"user": named_user, "group": named_group}


class RevokeQuery(Query):
    """The key's name, to take the last grant away by which its grants can be managed."""

    override = Text(required=False)


class Grants(ApiView):
    """Who may do what with a key."""

    pagination_class = Pages

    @operation("list_grants", {200: GrantContent(many=True)}, query=PageQuery)
    def get(self, request: Any, id: str) -> Response:
        """List who may do what with a key."""
        key = rights.see(named_key(id))
        rights.permit(request, "view_keygrant")
        page: Any = self.paginate_queryset(_of(key).order_by("pk"))
        return self.get_paginated_response(GrantContent(described(page), many=True).data)

    @operation(
        "create_grant",
        {201: GrantContent},
        body=_NEW,
        refusals=(409,),
        headers={201: ("Location",)},
    )
    def post(self, request: Any, id: str) -> Response:
        """Let a user, or the users of a group, do something with a key.

        The same grant again is the one that is there.
        """
        key = rights.see(named_key(id), Action.MANAGE_GRANTS)
        rights.permit_on(request, key, Action.MANAGE_GRANTS, "add_keygrant")
        given = self.body(_shape(request.data))
        to = _holder(given)
        made = grants.grant(key.pk, to, **given)
        content = GrantContent(described([_of(key).get(pk=made.pk)])[0]).data
        location = url_of(request, "grant", id=key.pk, grant=made.pk)
        return Response(content, status=201, headers={"Location": location})


class Grant(ApiView):
    """One grant on a key."""

    @operation("read_grant", {200: GrantContent})
    def get(self, request: Any, id: str, grant: int) -> Response:
        """Read who may do what by a grant."""
        key = rights.see(named_key(id))
        rights.permit(request, "view_keygrant")
        return Response(GrantContent(described([_found(key, grant)])[0]).data)

    @operation("revoke_grant", {204: None}, query=RevokeQuery, refusals=(409,))
    def delete(self, request: Any, id: str, grant: int) -> Response:
        """Take a grant away."""
        key = rights.see(named_key(id), Action.MANAGE_GRANTS)
        rights.permit_on(request, key, Action.MANAGE_GRANTS, "delete_keygrant")
        grants.revoke(_found(key, grant), override=self.query.get("override"))
        return Response(status=204)


def _of(key: MasterKey) -> Any:
    return KeyGrant.objects.using(key._state.db).filter(master_key=key).select_related("master_key")


def _found(key: MasterKey, number: int) -> KeyGrant:
    row: KeyGrant | None = _of(key).filter(pk=number).first()
    if row is None:
        raise NotFound("The key has no such grant.")
    return row


def _shape(data: Any) -> type[Strict]:
    return GrantToGroup if isinstance(data, dict) and "group" in data else GrantToUser


def _holder(given: dict[str, Any]) -> Any:
    """Take the user or group out of what is given, and return its row."""
    kind = "group" if "group" in given else "user"
    row = _NAMED[kind](given.pop(kind))
    if row is None:
        raise ValidationError({kind: [f"There is no {kind} of this name."]})
    return row
