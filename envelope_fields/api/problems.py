"""Problem details (RFC 9457): the one shape of every error, and what is refused with which."""

from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.core import exceptions as core_exceptions
from django.db import Error
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.fields import get_error_detail
from rest_framework.response import Response
from rest_framework.settings import api_settings

from envelope_fields import exceptions as ours, grants, lifecycle, rotation
from envelope_fields.api.fields import as_utf8
from envelope_fields.census import CensusFailed
from envelope_fields.conf import keys_database
from envelope_fields.databases.errors import advice
from envelope_fields.indexing.rows import NoSuchIndex
from envelope_fields.jobs.dispatch import IdempotencyKeyReused, NoWorker, WorkerUnreachable
from envelope_fields.lifecycle.representation import as_utc

MEDIA_TYPE = "application/problem+json"
IDEMPOTENCY_KEY = "Idempotency-Key"
RETRY_SECONDS = 5
LARGEST_BODY = 1_048_576
# An answer has an end, whatever was sent.
MOST_ERRORS = 50
LONGEST_DETAIL = 500
# As RFC 9110 has them, whatever the Python: before 3.13 it had other words.
_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


class Refusal(exceptions.APIException):
    """An error of this package as an answer.

    Attributes:
        field: what of the request it is about; empty where it is about none of it.
        members: what the problem has beside its words.
        wait: after how many seconds it is worth another try; None if it is not.
    """

    def __init__(self, error: Exception, status: int, code: str, field: str) -> None:
        self.status_code = status
        super().__init__(str(error), code)
        self.field = field
        self.members = _members(error)
        self.wait = RETRY_SECONDS if status == 503 else None


class DatabaseBusy(exceptions.APIException):
    """The database did not do it now, and may do it soon."""

    status_code = 503
    default_code = "database_busy"
    wait = RETRY_SECONDS


class PreconditionFailed(exceptions.APIException):
    """What was to be changed is not what the client has seen."""

    status_code = 412
    default_detail = "It was changed meanwhile. Read it again; If-Match names what you have seen."
    default_code = "precondition_failed"


class TooLarge(exceptions.APIException):
    """A body that is larger than anything that is meant."""

    status_code = 413
    default_detail = f"The body is larger than {LARGEST_BODY:,} bytes."
    default_code = "too_large"


class LengthRequired(exceptions.APIException):
    """A body of unknown length: Django and the framework would take it for none."""

    status_code = 411
    default_detail = "The length of the body is not given: send Content-Length, and no chunks."
    default_code = "length_required"


def no_such(what: str) -> exceptions.NotFound:
    """Return the one answer for a key, or the like, that does not exist or may not be seen."""
    return exceptions.NotFound(f"There is no such {what}, or you may not see it.")


def no_address() -> exceptions.NotFound:
    """Return the answer for an address that does not exist, or that is switched off."""
    return exceptions.NotFound("There is nothing here.")


# The first class that fits: status, code, and the field of the request.
_ANSWERS: tuple[tuple[type[ours.EnvelopeError], int, str, str], ...] = (
    (lifecycle.AliasRefused, 403, "permission_denied", "alias"),
    (ours.KeyAccessDenied, 403, "permission_denied", ""),
    (lifecycle.AliasTaken, 409, "alias_taken", "alias"),
    (lifecycle.BadWaitingPeriod, 400, "bad_waiting_period", "days"),
    (lifecycle.ConfirmationRequired, 409, "confirmation_required", "confirm"),
    (grants.LastGrant, 409, "last_grant", "override"),
    (lifecycle.KeyInUse, 409, "key_in_use", ""),
    (rotation.RotationUnderWay, 409, "rotation_under_way", ""),
    (rotation.RunNotPossible, 409, "rotation_over", ""),
    (NoWorker, 409, "no_worker", ""),
    (WorkerUnreachable, 503, "worker_unreachable", ""),
    (IdempotencyKeyReused, 422, "idempotency_key_reused", IDEMPOTENCY_KEY),
    (rotation.NoSuchField, 400, "no_such_field", "fields"),
    (ours.IndexNotReady, 409, "index_not_ready", ""),
    (ours.IndexNotBegun, 409, "index_not_begun", ""),
    (ours.MasterKeyUnusable, 409, "key_unusable", ""),
    (ours.MalformedEnvelope, 400, "malformed_envelope", "ciphertext"),
    (ours.DecryptionFailed, 400, "decryption_failed", "ciphertext"),
    (CensusFailed, 503, "census_failed", ""),
    (ours.RootKeyUnavailable, 503, "root_key_unavailable", ""),
    (ours.RootKeyRefused, 502, "root_key_refused", ""),
)


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer to an error of the API; None for a fault, which goes on to Django."""
    known = _known(error)
    if known is None:
        return None
    return Response(_problem(known), status=known.status_code, headers=_headers(known))


def phrase(status: int) -> str:
    """Return the words for a status."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def _known(error: Exception) -> exceptions.APIException | None:
    """Translate what may be raised into an error of the framework."""
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, ours.EnvelopeError):
        return _refusal(error)
    if isinstance(error, Error):
        why = advice(error, keys_database(), otherwise="")
        return DatabaseBusy(why) if why else None
    return _of_django(error)


def _of_django(error: Exception) -> exceptions.APIException | None:
    if isinstance(error, core_exceptions.ValidationError):
        return exceptions.ValidationError(get_error_detail(error))
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, core_exceptions.PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, core_exceptions.RequestDataTooBig):
        return TooLarge()
    if isinstance(error, core_exceptions.SuspiciousOperation | UnreadablePostError):
        return exceptions.ParseError("The request cannot be read.")
    return None


def _refusal(error: ours.EnvelopeError) -> exceptions.APIException | None:
    """Return the answer to an error of this package; None where it is a fault of the server."""
    if isinstance(error, ours.MasterKeyNotFound):
        return no_such("key")
    if isinstance(error, rotation.NoSuchRun):
        return no_such("rotation")
    if isinstance(error, NoSuchIndex):
        return no_such("index")
    fitting = (each for each in _ANSWERS if isinstance(error, each[0]))
    found = next(fitting, None)
    return Refusal(error, *found[1:]) if found else None


def _members(error: Exception) -> dict[str, Any]:
    if isinstance(error, lifecycle.KeyInUse):
        names = ("database", "model", "field", "values")
        return {"rows": [{name: getattr(row, name) for name in names} for row in error.rows]}
    if isinstance(error, lifecycle.ConfirmationRequired):
        last = error.last_use
        return {"expected": error.expected, "last_use": last and as_utc(last)}
    if isinstance(error, rotation.RotationUnderWay | WorkerUnreachable | IdempotencyKeyReused):
        return {"rotation": str(error.run.pk)} if error.run else {}
    return {}


def _problem(error: exceptions.APIException) -> dict[str, Any]:
    errors = list(islice(_errors(error), MOST_ERRORS))
    return {
        "type": "about:blank",
        "title": phrase(error.status_code),
        "status": error.status_code,
        "detail": _detail(error, errors),
        "code": _code(error),
        **({"errors": errors} if errors else {}),
        **(error.members if isinstance(error, Refusal) else {}),
    }


def _detail(error: exceptions.APIException, errors: list[dict[str, str]]) -> str:
    if isinstance(error, exceptions.ValidationError):
        return " ".join(f"{each['field']}: {each['detail']}".lstrip(": ") for each in errors[:5])
    detail: Any = error.detail  # of some packages, such as Simple JWT, a problem of their own
    detail = detail.get("detail") if isinstance(detail, dict) else detail
    return str(detail if isinstance(detail, str) else error.default_detail)


def _code(error: exceptions.APIException) -> str:
    codes = error.get_codes()
    return codes if isinstance(codes, str) else error.default_code


def _errors(error: exceptions.APIException) -> Iterator[dict[str, str]]:
    if isinstance(error, exceptions.ValidationError):
        yield from _flat(error.get_full_details(), "")
    elif isinstance(error, Refusal) and error.field:
        yield {"field": error.field, "detail": str(error.detail), "code": _code(error)}


def _flat(details: Any, name: str) -> Iterator[dict[str, str]]:
    """Name each field that is wrong: `actions.0` is the first of a list."""
    if isinstance(details, dict) and set(details) == {"message", "code"}:
        detail = as_utf8(str(details["message"])[:LONGEST_DETAIL])  # it may repeat what was sent
        yield {"field": name, "detail": detail, "code": str(details["code"])}
    elif isinstance(details, dict):
        for inner_name, inner in details.items():
            yield from _flat(inner, _below(name, inner_name))
    elif isinstance(details, list):
        is_leaf = all(isinstance(each, dict) and "message" in each for each in details)
        for index, inner in enumerate(details):
            yield from _flat(inner, name if is_leaf else _below(name, index))


def _below(outer: str, name: Any) -> str:
    if name in (api_settings.NON_FIELD_ERRORS_KEY, "__all__"):
        return outer
    return f"{outer}.{name}" if outer else str(name)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(error.auth_header)  # type: ignore[attr-defined]  # set by DRF
    wait = getattr(error, "wait", None)
    if wait:
        headers["Retry-After"] = str(int(wait))
    return headers
