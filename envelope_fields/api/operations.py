"""Operations on a key, on a version of it that is not current, or on a rotation: each is a POST.

They are those of the registry that have a segment. Shredding takes two calls: the first disables
the key; as soon as every process knows that, the second counts the values and destroys it. The
client agrees to the numbers that it was shown, and to no more.
"""

from collections.abc import Callable, Iterator
from functools import cache
from math import ceil
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import databases, lifecycle, rotation
from envelope_fields.api import keys, rotations, views
from envelope_fields.api.fields import Empty, Integer, Strict, Text, answers, takes, time_field
from envelope_fields.api.schema import IF_MATCH, endpoint
from envelope_fields.jobs.dispatch import dispatch_resume
from envelope_fields.jobs.runs import keys_of
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.certificates import WHAT_REMAINS, FieldCount, shred_content
from envelope_fields.lifecycle.parameters import Kind, Parameter
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion, RotationRun

Row = MasterKey | MasterKeyVersion

REFUSALS = (409, 412, 502, 503)
_PARAMETERS = "What the operation is given; what is left out has its default."
_FIELD = {"database": "default", "model": "clinic.Patient", "field": "notes", "values": 12}
_WHAT = {"name": "billing", "fields": [_FIELD], "total": 12, "last_use_by_kms": None, "lookups": []}


class OperationView(views.ApiView):
    """One operation. The response shows the key or version as it is then."""

    operation: ClassVar[Operation]

    def row(self, request: Any, id: str, number: int | None = None) -> Row:
        """Return what it is done to, if the user may."""
        key = views.seen_key(id, self.operation.action)
        views.permit_operation(request, self.operation, key)
        return key if number is None else keys.version_of(key, number)

    def perform(self, request: Any, row: Row) -> Response:
        given = self.body()
        key = row if isinstance(row, MasterKey) else row.master_key
        with views.as_seen(request, key, lambda: views.etag_of(keys.data_of(row))):
            return self.do(row, given)

    def do(self, row: Row, given: dict[str, Any]) -> Response:
        """Do it, and return the response."""
        self.operation.perform(key=row, **given)
        return views.tagged(keys.data_of(row))


class FieldContent(serializers.Serializer[Any]):
    """How many values of a field there are, in one database."""

    database = serializers.CharField()
    model = serializers.CharField()
    field = serializers.CharField()
    values = serializers.IntegerField()


@answers("twelve values", {**_WHAT, "ready_at": None})
class Shredded(serializers.Serializer[Any]):
    """What shredding would destroy; `ready_at` is null until the first call."""

    name = serializers.CharField()
    fields = FieldContent(many=True)  # type: ignore[assignment]  # its name outside
    total = serializers.IntegerField()
    last_use_by_kms = time_field(allow_null=True)
    lookups = serializers.ListField(
        child=serializers.CharField(), help_text="The blind indexes that find nothing any more."
    )
    ready_at = time_field(allow_null=True)


@answers("twelve values", {
    "event": 42, "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", **_WHAT,
    "versions": {"1": "5f0c1c1b9d8e7a42"}, "destroyed_at": "2030-03-01T09:30:00Z",
    "actor": "olga", "not_counted": [], "remains": WHAT_REMAINS,
})  # fmt: skip
class Certificate(serializers.Serializer[Any]):
    """That a key was destroyed together with its values, as the audit trail has it."""

    event = serializers.IntegerField()
    key_id = serializers.CharField()
    name = serializers.CharField()
    versions = serializers.DictField(child=serializers.CharField())
    fields = FieldContent(many=True)  # type: ignore[assignment]  # its name outside
    total = serializers.IntegerField()
    destroyed_at = time_field()
    actor = serializers.CharField()
    last_use_by_kms = serializers.CharField(allow_null=True)
    not_counted = serializers.ListField(child=serializers.CharField())
    remains = serializers.CharField()
    lookups = serializers.ListField(child=serializers.CharField())


@answers("a minute", {"ready_at": "2030-03-01T09:31:00Z"}, 202)
class Waiting(serializers.Serializer[Any]):
    """It is disabled; from `ready_at` on, the same call destroys it."""

    ready_at = time_field()


class AgreedField(Strict):
    """How many values of a field the client agrees to lose."""

    database = Text()
    model = Text()
    field = Text()
    values = Integer(min_value=0, max_value=2**63 - 1)


@takes({"as shown": {"confirm": "billing", "fields": [_FIELD]}})
class Agreement(Strict):
    """The key's name, and the fields as they were shown."""

    confirm = Text()
    fields = AgreedField(many=True)  # type: ignore[assignment]  # its name outside


class ShredView(OperationView):
    """Destroys a key or version together with all values under it, in two calls."""

    operation = Operation.SHRED
    attempted = operation.action

    def what(self, row: Row) -> Response:
        """Return the response that shows what would be destroyed, to agree to it."""
        confirmation = lifecycle.shred_confirmation(row)
        ready = lifecycle.ready_to_shred_at(row)
        return Response(Shredded({**shred_content(confirmation), "ready_at": ready}).data)

    def do(self, row: Row, given: dict[str, Any]) -> Response:
        fields = tuple(FieldCount(**each) for each in given["fields"])
        agreed = lifecycle.ShredConfirmation(given["confirm"], fields)
        ready = lifecycle.ready_to_shred_at(row)
        if row.state == KeyState.DESTROYED or (ready is not None and ready <= databases.now()):
            certificate = lifecycle.finish_shredding(row, confirm=agreed)
            return Response(Certificate(shred_content(certificate)).data)
        ready = lifecycle.begin_shredding(row, confirm=agreed)
        seconds = max(ceil((ready - databases.now()).total_seconds()), 0)
        content = Waiting({"ready_at": ready}).data
        return Response(content, status=202, headers={"Retry-After": str(seconds)})


# -- Views, made of what the registry has ----------------------------------------------------------


def operation_views(*, of_version: bool) -> Iterator[tuple[str, type[OperationView]]]:
    """Yield the segment and the view of each operation on keys, or on versions."""
    for operation in Operation:
        is_on_keys = bool(operation.segment and operation.transitions)
        if is_on_keys and (operation.of_versions or not of_version):
            make = _shred_view if operation is Operation.SHRED else _view
            yield operation.segment, make(operation, of_version)


def _view(operation: Operation, of_version: bool) -> type[OperationView]:
    shown = keys.VersionContent if of_version else keys.KeyContent

    @_changing(_name(operation, of_version), {200: shown}, _body(operation), {200: ("ETag",)})
    def post(self: OperationView, request: Any, **named: Any) -> Response:
        return self.perform(request, self.row(request, **named))

    post.__doc__ = operation.description
    members = {
        "operation": operation, "attempted": operation.action, "post": post,
        "__doc__": operation.description,
    }  # fmt: skip
    return type(_class_name(operation), (OperationView,), members)


def _shred_view(operation: Operation, of_version: bool) -> type[OperationView]:
    name = _name(operation, of_version)

    @endpoint(name.replace("shred_", "read_shredding_of_"), {200: Shredded}, refusals=(503,))
    def get(self: ShredView, request: Any, **named: Any) -> Response:
        """Read what would be destroyed, to agree to it."""
        return self.what(self.row(request, **named))

    @_changing(name, {200: Certificate, 202: Waiting}, Agreement, {202: ("Retry-After",)})
    def post(self: ShredView, request: Any, **named: Any) -> Response:
        """Destroy a key or version together with all values under it, in two calls.

        The first call disables it (202), and shows from when on the second one destroys it (200).
        """
        return self.perform(request, self.row(request, **named))

    return type("Shred", (ShredView,), {"get": get, "post": post})


def _changing(name: str, responses: Any, body: type[Strict], headers: Any) -> Callable[[Any], Any]:
    return endpoint(
        name, responses, body=body, headers=headers, refusals=REFUSALS, parameters=(IF_MATCH,)
    )


_ACTS: dict[Operation, Callable[[RotationRun], object]] = {
    Operation.PAUSE_ROTATION: rotation.pause,
    Operation.RESUME_ROTATION: dispatch_resume,
    Operation.CANCEL_ROTATION: rotation.cancel,
}


def run_operation_views() -> Iterator[tuple[str, type[views.ApiView]]]:
    """Yield the segment and the view of each operation on rotations."""
    for operation, act in _ACTS.items():
        yield operation.segment, _run_view(operation, act)


def _run_view(operation: Operation, act: Callable[[RotationRun], object]) -> type[views.ApiView]:
    goes_on = operation is Operation.RESUME_ROTATION
    status, more = (202, ("Location",)) if goes_on else (200, ())

    @endpoint(
        str(operation),
        {status: rotations.RunContent},
        refusals=(409, 412, 503) if goes_on else (409, 412),
        headers={status: ("ETag", *more)},
        parameters=(IF_MATCH,),
    )
    def post(self: views.ApiView, request: Any, run: str) -> Response:
        found = rotations.seen_run(run, operation.action)
        views.permit_operation(request, operation, *keys_of(found))
        self.body()
        with views.as_seen(request, found, lambda: rotations.tag_of(rotation.find_run(found))):
            act(found)
        return rotations.accepted(request, found) if goes_on else rotations.shown(found)

    post.__doc__ = operation.description
    members = {"attempted": operation.action, "post": post}
    return type(operation.segment.title(), (views.ApiView,), members)


def _name(operation: Operation, of_version: bool) -> str:
    """Name it as the commands are called: `schedule_key_deletion`."""
    verb, _, noun = operation.partition("_")
    return "_".join(filter(None, (verb, "key", "version" * of_version, noun)))


def _class_name(operation: Operation) -> str:
    return "".join(part.title() for part in operation.split("_"))


@cache
def _body(operation: Operation) -> type[Strict]:
    if not operation.parameters:
        return Empty
    fields = {parameter.name: _field(parameter) for parameter in operation.parameters}
    example = {parameter.name: parameter.example for parameter in operation.parameters}
    body = type(
        _class_name(operation),
        (Strict,),
        {"__doc__": _PARAMETERS, "__module__": __name__, **fields},
    )
    made: type[Strict] = takes({"an example": example})(body)
    return made


def _field(parameter: Parameter) -> serializers.Field[Any, Any, Any, Any]:
    given: dict[str, Any] = {} if parameter.is_required else {"required": False}
    if parameter.default not in (..., None):
        given = {"default": parameter.default}
    if parameter.kind is Kind.ALIAS:
        return keys.Alias(**given)
    if parameter.kind is Kind.NUMBER:
        return Integer(min_value=parameter.minimum, max_value=parameter.maximum, **given)
    return Text(**given)
