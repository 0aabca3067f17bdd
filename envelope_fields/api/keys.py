"""Master keys and their versions: listed, made, read and changed."""

from collections.abc import Iterable
from typing import Any

from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from envelope_fields import lifecycle
from envelope_fields.api import fields, views
from envelope_fields.api.requests import PageQuery, url_of
from envelope_fields.api.schema import IF_MATCH, endpoint
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.lifecycle import Operation, representation
from envelope_fields.lifecycle.keys import find_master_key, numbered_version, open_keys
from envelope_fields.lifecycle.rotation import due_keys, with_versions
from envelope_fields.models import KeyManager, KeyState, MasterKey, MasterKeyVersion
from envelope_fields.policy import Action

LONGEST_DESCRIPTION = 8192
_TIMES = {"created_at": "2030-03-01T09:30:00Z", "deletion_at": None, "destroyed_at": None}
_EXAMPLE = {
    "id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", "alias": "billing", "description": "Invoices",
    "state": "enabled", "managed_by": "customer", "application_use": True,
    "creator_type": "application", "creator_id": "", "serves_fields": True,
    "rotation_period": 365, "next_rotation": "2031-03-01T09:30:00Z",
    "current_version": 2, "rotated_at": "2030-03-01T09:30:00Z", "root_key": None,
    **_TIMES,
}  # fmt: skip
_VERSION_EXAMPLE: dict[str, Any] = {
    "number": 2, "version_id": "5f0c1c1b9d8e7a42", "state": "enabled", "current": True,
    "root_key": "default", "wrapping_key_id": "", "further_wraps": [],
    "opened_at": "2030-03-01T09:30:00Z", **_TIMES,
}  # fmt: skip


@fields.answers("a key", _EXAMPLE)
class KeyContent(serializers.Serializer[Any]):
    """A master key, without its material."""

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
    next_rotation = fields.time_field(allow_null=True)
    current_version = serializers.IntegerField(
        allow_null=True, help_text="Its number; values are written under it. Null where none is."
    )
    rotated_at = fields.time_field(allow_null=True)
    root_key = serializers.CharField(
        allow_null=True, help_text="What wraps its versions; null is the first of the settings."
    )
    created_at = fields.time_field()
    deletion_at = fields.time_field(allow_null=True)
    destroyed_at = fields.time_field(allow_null=True)


class FurtherWrapContent(serializers.Serializer[Any]):
    """A root key that wrapped a version besides the one that its row names."""

    root_key = serializers.CharField()
    wrapping_key_id = serializers.CharField(allow_blank=True)


@fields.answers("a version", _VERSION_EXAMPLE)
class VersionContent(serializers.Serializer[Any]):
    """A key version, without its material, wrapped neither."""

    number = serializers.IntegerField()
    version_id = serializers.CharField(help_text="As envelopes name it, in hex.")
    state = serializers.ChoiceField(KeyState.choices)
    current = serializers.BooleanField()
    root_key = serializers.CharField(help_text="The name of the root key that wrapped it.")
    wrapping_key_id = serializers.CharField(
        allow_blank=True, help_text="What the root key says that it wrapped with."
    )
    further_wraps = FurtherWrapContent(
        many=True, help_text="The root keys that wrapped it besides, and open it as well."
    )
    created_at = fields.time_field()
    opened_at = fields.time_field(
        allow_null=True,
        help_text="When a process first opened it; null is not opened yet, and so not current: "
        "run `open_master_key_versions` where the root key may decrypt.",
    )
    deletion_at = fields.time_field(allow_null=True)
    destroyed_at = fields.time_field(allow_null=True)


class Alias(fields.Text):
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


class KeyChange(fields.Strict):
    """What is changed of a key; what is left out stays."""

    description = fields.Text(required=False, allow_blank=True, max_length=LONGEST_DESCRIPTION)
    rotation_period = fields.Integer(required=False, allow_null=True, min_value=90, max_value=2560)
    application_use = fields.Boolean(required=False)


class AliasChange(fields.Strict):
    """The alias that a key is given; another key may lose it."""

    alias = Alias()


@fields.takes({"a key that rotates yearly": {
    "alias": "billing", "description": "Invoices", "rotation_period": 365,
}})  # fmt: skip
class NewKey(KeyChange):
    """A key to be made."""

    alias = Alias()


class KeyQuery(PageQuery):
    """Which keys."""

    state = serializers.ChoiceField(KeyState.choices, required=False)
    alias = fields.Text(required=False, help_text="The key with this alias.")
    due = fields.Boolean(required=False, help_text="Whether its rotation period is over.")
    search = fields.Text(required=False, help_text="Part of the alias or the description.")


_CHANGE = fields.one_of(
    "KeyPatch",
    [KeyChange, AliasChange],
    {"rotate yearly": {"rotation_period": 365}, "another alias": {"alias": "invoices"}},
)


class Keys(views.ApiView):
    """The master keys that the user may describe."""

    @endpoint("list_keys", {200: KeyContent(many=True)}, query=KeyQuery)
    def get(self, request: Any) -> Response:
        """List the keys that the user may describe."""
        keys = with_versions(open_keys(Action.DESCRIBE)).order_by("alias", "pk")
        return self.paged(_picked(keys, self.query), KeyContent, _contents)

    @endpoint(
        "create_key",
        {201: KeyContent},
        body=NewKey,
        refusals=(409, 502, 503),
        headers={201: ("Location", "ETag")},
    )
    def post(self, request: Any) -> Response:
        """Make a key with its first version."""
        views.permit_on(request, [], Operation.CREATE, Operation.CREATE.codename)
        made = lifecycle.create_master_key(**self.body())
        response = views.tagged(data_of(made), 201)
        response["Location"] = url_of(request, "key", id=made.pk)
        return response


class Key(views.ApiView):
    """One master key."""

    @endpoint("read_key", {200: KeyContent}, headers={200: ("ETag",)})
    def get(self, request: Any, id: str) -> Response:
        """Read a key."""
        return views.tagged(data_of(views.seen_key(id)))

    @endpoint(
        "change_key",
        {200: KeyContent},
        body=_CHANGE,
        refusals=(409, 412),
        headers={200: ("ETag",)},
        parameters=(IF_MATCH,),
    )
    def patch(self, request: Any, id: str) -> Response:
        """Change a key's description, rotation period and use by the application; or its alias.

        An alias moves in a request of its own: it may be taken from another key.
        """
        key = views.seen_key(id, Operation.UPDATE.action)
        change = self._move if _names(request.data, "alias") else self._update
        with views.as_seen(request, key, lambda: views.etag_of(data_of(key))):
            change(request, key)
        return views.tagged(data_of(key))

    def _update(self, request: Any, key: MasterKey) -> None:
        # What the application may do is a grant to it.
        only_use = _names(request.data, "application_use") and len(request.data) == 1
        action = Action.MANAGE_GRANTS if only_use else Operation.UPDATE.action
        views.permit_on(request, [key], action, Operation.UPDATE.codename)
        given = self.body(KeyChange)
        if given:
            Operation.UPDATE.perform(key=key, **given)

    def _move(self, request: Any, key: MasterKey) -> None:
        views.permit_operation(request, Operation.MOVE_ALIAS, key)
        Operation.MOVE_ALIAS.perform(key=key, **self.body(AliasChange))


class Versions(views.ApiView):
    """The versions of a key, newest first."""

    @endpoint("list_key_versions", {200: VersionContent(many=True)}, query=PageQuery)
    def get(self, request: Any, id: str) -> Response:
        """List the versions of a key, newest first."""
        key = views.seen_key(id)
        rows = key.versions.using(key._state.db).order_by("-number")
        return self.paged(rows, VersionContent, lambda page: _version_contents(key, page))


class Version(views.ApiView):
    """One version of a key."""

    @endpoint("read_key_version", {200: VersionContent}, headers={200: ("ETag",)})
    def get(self, request: Any, id: str, number: int) -> Response:
        """Read a version of a key."""
        return views.tagged(data_of(version_of(views.seen_key(id), number)))


def version_of(key: MasterKey, number: int) -> MasterKeyVersion:
    """Return a version of a key.

    Raises:
        NotFound: it has none of that number.
    """
    version = numbered_version(key, number)
    if version is None:
        raise NotFound("The key has no such version.")
    return version


def data_of(row: MasterKey | MasterKeyVersion) -> dict[str, Any]:
    """Return a key or version as it is shown, as the database has it."""
    if isinstance(row, MasterKey):
        return dict(KeyContent(representation.key_content(find_master_key(row.pk))).data)
    [content] = _version_contents(row.master_key, [version_of(row.master_key, row.number)])
    return dict(VersionContent(content).data)


def _contents(keys: Iterable[Any]) -> list[dict[str, Any]]:
    """Return keys as they are listed; one whose versions are gone takes no other along."""
    known = ((key, key.version_count and (key.current_number, key.rotated_at)) for key in keys)
    return [representation.key_content(key, each or (None, None)) for key, each in known]


def _version_contents(key: MasterKey, versions: Iterable[MasterKeyVersion]) -> list[dict[str, Any]]:
    current, versions = key.current_version.number, list(versions)
    further = representation.further_wraps_of(versions)
    return [
        representation.version_content(each, further, is_current=each.number == current)
        for each in versions
    ]


def _picked(keys: QuerySet[MasterKey], query: dict[str, Any]) -> QuerySet[MasterKey]:
    if "state" in query:
        keys = keys.filter(state=query["state"])
    if "alias" in query:
        keys = keys.filter(pk__in=_having(query["alias"]))
    if "search" in query:
        words = query["search"]
        keys = keys.filter(Q(alias__icontains=words) | Q(description__icontains=words))
    if "due" in query:
        overdue = due_keys(keys).values("pk")
        keys = keys.filter(pk__in=overdue) if query["due"] else keys.exclude(pk__in=overdue)
    return keys


def _having(alias: str) -> list[Any]:
    """Return the key with an alias; some databases find one that differs in case."""
    try:
        return [find_master_key(alias).pk]
    except MasterKeyNotFound:
        return []


def _names(data: Any, name: str) -> bool:
    return isinstance(data, dict) and name in data
