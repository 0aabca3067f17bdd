"""Grants on a key: listed, made and revoked."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from envelope_fields import grants
from envelope_fields.api import requests, views
from envelope_fields.api.fields import DateTime, Query, Strict, Text, answers, one_of, time_field
from envelope_fields.api.schema import endpoint
from envelope_fields.grants.grantees import described, grant_content, named_grantee, stored_grants
from envelope_fields.lifecycle import Operation
from envelope_fields.models import KeyGrant, MasterKey
from envelope_fields.policy import Action

_EXAMPLE = {
    "grant": 7, "key": "billing", "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1",
    "principal_type": "auth.user", "principal_id": "12", "name": "bob", "actions": ["decrypt"],
    "context": "clinic.patient.notes", "expires_at": None, "void": "",
}  # fmt: skip


@answers("a grant", _EXAMPLE)
class GrantContent(serializers.Serializer[Any]):
    """A grant; `void` is why it is of no use."""

    grant = serializers.IntegerField()
    key = serializers.CharField(allow_null=True)
    key_id = serializers.UUIDField()
    principal_type = serializers.CharField()
    principal_id = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    actions = serializers.ListField(child=serializers.CharField())
    context = serializers.CharField(allow_blank=True)  # type: ignore[assignment]  # its name outside
    expires_at = time_field(allow_null=True)
    void = serializers.CharField(allow_blank=True)


class NewGrant(Strict):
    """What is granted, for which values, and until when."""

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
    expires_at = DateTime(required=False, allow_null=True)


class GrantToUser(NewGrant):
    """A grant to a user, by their name."""

    user = Text()


class GrantToGroup(NewGrant):
    """A grant to the users of a group, by its name."""

    group = Text()


class RevokeQuery(Query):
    """The key's name, to revoke the last grant by which its grants can be managed."""

    override = Text(required=False)


_NEW = one_of(
    "NewGrant",
    [GrantToUser, GrantToGroup],
    {
        "to a user": {"user": "bob", "actions": ["decrypt"]},
        "to a group": {"group": "nurses", "actions": ["encrypt", "decrypt"]},
    },
)


class Grants(views.ApiView):
    """Who may do what with a key."""

    @endpoint("list_grants", {200: GrantContent(many=True)}, query=requests.PageQuery)
    def get(self, request: Any, id: str) -> Response:
        """List who may do what with a key."""
        key = views.seen_key(id)
        views.permit(request, "view_keygrant")
        rows = stored_grants().filter(master_key=key)
        return self.paged(rows.order_by("pk"), GrantContent, _contents)

    @endpoint(
        "create_grant", {201: GrantContent}, body=_NEW, refusals=(409,),
        headers={201: ("Location",)},
    )  # fmt: skip
    def post(self, request: Any, id: str) -> Response:
        """Let a user, or the users of a group, do something with a key.

        The same grant again is the one that is there.
        """
        key = views.seen_key(id, Operation.CREATE_GRANT.action)
        views.permit_operation(request, Operation.CREATE_GRANT, key)
        kind = "group" if isinstance(request.data, dict) and "group" in request.data else "user"
        given = self.body(GrantToGroup if kind == "group" else GrantToUser)
        made = grants.grant(key.pk, named_grantee(kind, given.pop(kind)), **given)
        location = requests.url_of(request, "grant", id=key.pk, grant=made.pk)
        return Response(_shown(_found(key, made.pk)), status=201, headers={"Location": location})


class Grant(views.ApiView):
    """One grant on a key."""

    @endpoint("read_grant", {200: GrantContent})
    def get(self, request: Any, id: str, grant: int) -> Response:
        """Read who may do what by a grant."""
        key = views.seen_key(id)
        views.permit(request, "view_keygrant")
        return Response(_shown(_found(key, grant)))

    @endpoint("revoke_grant", {204: None}, query=RevokeQuery, refusals=(409,))
    def delete(self, request: Any, id: str, grant: int) -> Response:
        """Revoke a grant."""
        key = views.seen_key(id, Operation.REVOKE_GRANT.action)
        views.permit_operation(request, Operation.REVOKE_GRANT, key)
        grants.revoke(_found(key, grant), override=self.query.get("override"))
        return Response(status=204)


def _found(key: MasterKey, number: int) -> KeyGrant:
    row = stored_grants().filter(master_key=key, pk=number).first()
    if row is None:
        raise NotFound(
            "The key has no such grant: it is revoked, or was never made. GET the key's grants/ to "
            "see those that there are."
        )
    return row


def _contents(rows: list[KeyGrant]) -> list[dict[str, Any]]:
    return [grant_content(listed) for listed in described(rows)]


def _shown(row: KeyGrant) -> Any:
    return GrantContent(_contents([row])[0]).data
