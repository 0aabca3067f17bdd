"""The versions of a key."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from envelope_fields.api import rights
from envelope_fields.api.etags import etag_of
from envelope_fields.api.fields import Moment
from envelope_fields.api.naming import named_key
from envelope_fields.api.operations import operation
from envelope_fields.api.pages import PageQuery, Pages
from envelope_fields.api.view import ApiView
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

_EXAMPLE = {
    "number": 2,
    "version_id": "5f0c1c1b9d8e7a42",
    "state": "enabled",
    "current": True,
    "root_key": "default",
    "created_at": "2030-03-01T09:30:00Z",
    "deletion_at": None,
    "destroyed_at": None,
}


@extend_schema_serializer(examples=[OpenApiExample("a version", _EXAMPLE, response_only=True)])
class VersionContent(serializers.Serializer[Any]):
    """What is told of a key version. Its material is told nowhere, wrapped neither."""

    number = serializers.IntegerField()
    version_id = serializers.SerializerMethodField(help_text="As envelopes name it, in hex.")
    state = serializers.ChoiceField(KeyState.choices)
    current = serializers.SerializerMethodField()
    root_key = serializers.CharField()
    created_at = Moment()
    deletion_at = Moment(allow_null=True)
    destroyed_at = Moment(allow_null=True)

    def get_version_id(self, version: MasterKeyVersion) -> str:
        return bytes(version.version_id).hex()

    def get_current(self, version: MasterKeyVersion) -> bool:
        return bool(version.number == self.context["newest"])


class Versions(ApiView):
    """The versions of a key, newest first."""

    pagination_class = Pages

    @operation("list_key_versions", {200: VersionContent(many=True)}, query=PageQuery)
    def get(self, request: Any, id: str) -> Response:
        """List the versions of a key, newest first."""
        key = rights.see(named_key(id))
        rows = key.versions.using(key._state.db).order_by("-number")
        context = {"newest": newest(key)}
        return self.paged(rows, VersionContent, context)


class Version(ApiView):
    """One version of a key."""

    @operation("read_key_version", {200: VersionContent}, headers={200: ("ETag",)})
    def get(self, request: Any, id: str, number: int) -> Response:
        """Read what is told of a version."""
        return told(version_of(rights.see(named_key(id)), number))


def version_of(key: MasterKey, number: int) -> MasterKeyVersion:
    """Return a version of a key.

    Raises:
        NotFound: it has none of that number.
    """
    rows = key.versions.using(key._state.db).select_related("master_key")
    version = rows.filter(number=number).first()
    if version is None:
        raise NotFound("The key has no such version.")
    return version


def newest(key: MasterKey) -> int:
    return key.current_version.number


def content_of(version: MasterKeyVersion) -> dict[str, Any]:
    """Return what is told of a version, as the database has it."""
    key = version.master_key
    row = version_of(key, version.number)
    return dict(VersionContent(row, context={"newest": newest(key)}).data)


def told(version: MasterKeyVersion) -> Response:
    """Return the answer that tells of a version."""
    content = content_of(version)
    return Response(content, headers={"ETag": etag_of(content)})
