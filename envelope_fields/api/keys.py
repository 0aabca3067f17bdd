"""Master keys: listed, made, read and changed."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema_serializer,
)
from rest_framework.response import Response

from envelope_fields import lifecycle
from envelope_fields.api import rights
from envelope_fields.api.etags import as_seen, etag_of
from envelope_fields.api.key_shapes import (
    AliasChange,
    KeyChange,
    KeyContent,
    KeyQuery,
    NewKey,
)
from envelope_fields.api.naming import named_key
from envelope_fields.api.operations import operation
from envelope_fields.api.pages import Pages
from envelope_fields.api.versioning import url_of
from envelope_fields.api.view import ApiView
from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.lifecycle import Act, due
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action, current_principal, keys_open_to

_CHANGE: Any = PolymorphicProxySerializer(
    "KeyPatch", [KeyChange, AliasChange], resource_type_field_name=None
)
extend_schema_serializer(
    examples=[
        OpenApiExample("rotate yearly", {"rotation_period": 365}, request_only=True),
        OpenApiExample("another alias", {"alias": "invoices"}, request_only=True),
    ]
)(_CHANGE)


class Keys(ApiView):
    """The master keys that one may describe."""

    pagination_class = Pages

    @operation("list_keys", {200: KeyContent(many=True)}, query=KeyQuery)
    def get(self, request: Any) -> Response:
        """List the keys that one may describe."""
        using = configuration().database
        seen = keys_open_to(Action.DESCRIBE, current_principal(), using=using)
        keys = described_keys().filter(seen).order_by("alias", "pk")
        return self.paged(_picked(keys, self.query), KeyContent)

    @operation(
        "create_key",
        {201: KeyContent},
        body=NewKey,
        refusals=(409, 502, 503),
        headers={201: ("Location", "ETag")},
    )
    def post(self, request: Any) -> Response:
        """Make a key with its first version."""
        rights.permit_creation(request)
        made = lifecycle.create_master_key(**self.body(NewKey))
        response = told(made, 201)
        response["Location"] = url_of(request, "key", id=made.pk)
        return response


class Key(ApiView):
    """One master key."""

    @operation("read_key", {200: KeyContent}, headers={200: ("ETag",)})
    def get(self, request: Any, id: str) -> Response:
        """Read what is told of a key."""
        return told(rights.see(named_key(id)))

    @operation(
        "change_key",
        {200: KeyContent},
        body=_CHANGE,
        refusals=(409, 412),
        headers={200: ("ETag",)},
        takes_if_match=True,
    )
    def patch(self, request: Any, id: str) -> Response:
        """Change a key's description, rotation period and use by the application; or its alias.

        An alias moves in a request of its own: it may be taken from another key.
        """
        key = rights.see(named_key(id), Action.ROTATE)
        change = self._move if _names_alias(request.data) else self._update
        with as_seen(request, key, lambda: etag_of(content_of(key))):
            change(request, key)
        return told(key)

    def _update(self, request: Any, key: MasterKey) -> None:
        rights.permit_on(request, key, _needed(request.data), rights.CODENAMES[Act.UPDATE])
        given = self.body(KeyChange)
        if given:
            lifecycle.update_master_key(key.pk, **given)

    def _move(self, request: Any, key: MasterKey) -> None:
        rights.permit_act(request, key, Act.MOVE_ALIAS)
        lifecycle.move_alias(self.body(AliasChange)["alias"], key.pk)


def described_keys() -> QuerySet[MasterKey]:
    """Return all keys with what is told of them, however few queries that takes."""
    return due.with_versions(MasterKey.objects.using(configuration().database))


def content_of(key: MasterKey) -> dict[str, Any]:
    """Return what is told of a key, as the database has it."""
    return dict(KeyContent(described_keys().get(pk=key.pk)).data)


def told(key: MasterKey, status: int = 200) -> Response:
    """Return the answer that tells of a key."""
    content = content_of(key)
    return Response(content, status=status, headers={"ETag": etag_of(content)})


def _picked(keys: QuerySet[MasterKey], query: dict[str, Any]) -> QuerySet[MasterKey]:
    if "state" in query:
        keys = keys.filter(state=query["state"])
    if "alias" in query:
        keys = keys.filter(pk__in=_having(query["alias"]))
    if "search" in query:
        words = query["search"]
        keys = keys.filter(Q(alias__icontains=words) | Q(description__icontains=words))
    if "due" in query:
        overdue = due.due(keys).values("pk")
        keys = keys.filter(pk__in=overdue) if query["due"] else keys.exclude(pk__in=overdue)
    return keys


def _having(alias: str) -> list[Any]:
    """Return the key with an alias; some databases find one that differs in case."""
    try:
        return [lifecycle.find_master_key(alias).pk]
    except MasterKeyNotFound:
        return []


def _names_alias(data: Any) -> bool:
    return isinstance(data, dict) and "alias" in data


def _needed(data: Any) -> Action:
    """Return what a change takes: what the application may do is a grant to it."""
    is_grant = isinstance(data, dict) and set(data) == {"application_use"}
    return Action.MANAGE_GRANTS if is_grant else Action.ROTATE
