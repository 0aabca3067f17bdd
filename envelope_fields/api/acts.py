"""Acts on a key, or on one of its versions that is not current: each is a POST."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework.response import Response

from envelope_fields import lifecycle
from envelope_fields.api import keys, rights, versions
from envelope_fields.api.etags import as_seen, etag_of
from envelope_fields.api.fields import Nothing, Strict, Text, Whole
from envelope_fields.api.key_shapes import KeyContent
from envelope_fields.api.naming import named_key
from envelope_fields.api.operations import Operation
from envelope_fields.api.view import ApiView
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.lifecycle.deletion import LONGEST_WAIT, SHORTEST_WAIT
from envelope_fields.models import MasterKey, MasterKeyVersion

Row = MasterKey | MasterKeyVersion


class ActView(ApiView):
    """One act. It answers with the key or version as it is then.

    Attributes:
        act: which.
        takes: what it has to be told.
        of_version: whether it is done to a version of the key.
    """

    act: ClassVar[Act]
    takes: ClassVar[type[Strict]] = Nothing
    refusals: ClassVar[tuple[int, ...]] = (409, 412)
    of_version = False

    def post(self, request: Any, id: str, number: int | None = None) -> Response:
        key = rights.see(named_key(id), ACTIONS[self.act])
        rights.permit_act(request, key, self.act)
        row = key if number is None else versions.version_of(key, number)
        given = self.body(self.takes)
        with as_seen(request, key, lambda: etag_of(content_of(row))):
            return self.do(row, given) or told(row)

    def do(self, row: Any, given: dict[str, Any]) -> Response | None:
        """Do it; return an answer other than what is told of the row."""
        raise NotImplementedError

    def said_of(self, method: str) -> Operation:
        if method != "POST":
            return super().said_of(method)
        shown = versions.VersionContent if self.of_version else KeyContent
        return Operation(
            self.name, {200: shown}, self.takes, refusals=self.refusals,
            headers={200: ("ETag",)}, takes_if_match=True,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """As the commands are called: `schedule_key_deletion`."""
        verb, _, noun = self.act.partition("_")
        return "_".join(filter(None, (verb, "key", "version" * self.of_version, noun)))


class Rotate(ActView):
    """Make a new version, under which values are written from now on."""

    act = Act.ROTATE
    refusals = (409, 412, 502, 503)

    def do(self, row: Any, given: dict[str, Any]) -> None:
        lifecycle.rotate_master_key(row)


class Enable(ActView):
    """Make a disabled key or version usable again."""

    act = Act.ENABLE

    def do(self, row: Any, given: dict[str, Any]) -> None:
        lifecycle.enable(row)


class Disable(ActView):
    """Make a key, or a version that is not current, unusable until it is enabled."""

    act = Act.DISABLE

    def do(self, row: Any, given: dict[str, Any]) -> None:
        lifecycle.disable(row)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "in a week", {"days": 7, "confirm": "billing@2030-02-28T17:05:12Z"}, request_only=True
        )
    ]
)
class Deletion(Strict):
    """How long to wait, and what confirms it, where a refusal has asked for it (`expected`)."""

    days = Whole(min_value=SHORTEST_WAIT, max_value=LONGEST_WAIT, default=LONGEST_WAIT)
    confirm = Text(required=False)


class ScheduleDeletion(ActView):
    """Make a key or version unusable now, and have it destroyed after a waiting period.

    Refused while values are stored under it; `rows` says where. Where kms gave out data under it,
    copies are stored as text, or something was not counted, `confirm` must quote its last use.
    """

    act = Act.SCHEDULE_DELETION
    takes = Deletion
    refusals = (409, 412, 503)

    def do(self, row: Any, given: dict[str, Any]) -> None:
        lifecycle.schedule_deletion(row, given["days"], confirm=given.get("confirm"))


class CancelDeletion(ActView):
    """Take a deletion back, which leaves the key or version disabled."""

    act = Act.CANCEL_DELETION

    def do(self, row: Any, given: dict[str, Any]) -> None:
        lifecycle.cancel_deletion(row)


def content_of(row: Row) -> dict[str, Any]:
    """Return what is told of a key or version, as the database has it."""
    return keys.content_of(row) if isinstance(row, MasterKey) else versions.content_of(row)


def told(row: Row) -> Response:
    """Return the answer that tells of a key or version."""
    return keys.told(row) if isinstance(row, MasterKey) else versions.told(row)
