"""Problem details (RFC 9457): the one shape of every error."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.fields import get_error_detail
from rest_framework.response import Response

from envelope_fields.api.fields import as_utf8
from envelope_fields.api.parsing import TooLarge
from envelope_fields.api.refusals import Refusal, refusal_of
from envelope_fields.exceptions import EnvelopeError

MEDIA_TYPE = "application/problem+json"
NOTHING = ""
# An answer is no longer than anybody reads, whatever was sent.
MOST_ERRORS = 50
LONGEST_DETAIL = 500


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer to an error of the API; None for a fault, which goes on to Django."""
    known = _known(error)
    if known is None:
        return None
    problem = _problem(known)
    return Response(problem, status=known.status_code, headers=_headers(known))


def _known(error: Exception) -> exceptions.APIException | None:
    """Translate what may be raised into an error of the framework."""
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, EnvelopeError):
        return refusal_of(error)
    if isinstance(error, DjangoValidationError):
        return exceptions.ValidationError(get_error_detail(error))
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, SuspiciousOperation | UnreadablePostError):
        return exceptions.ParseError("The request cannot be read.")
    return None


# As RFC 9110 has them, whatever the Python: before 3.13 it said other words.
_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


def phrase(status: int) -> str:
    """Return the words for a status."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


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
    return str(error.detail)


def _code(error: exceptions.APIException) -> str:
    codes = error.get_codes()
    return codes if isinstance(codes, str) else error.default_code


def _errors(error: exceptions.APIException) -> Iterator[dict[str, str]]:
    if isinstance(error, exceptions.ValidationError):
        yield from _flat(error.get_full_details(), NOTHING)
    elif isinstance(error, Refusal) and error.field:
        yield {"field": error.field, "detail": str(error.detail), "code": _code(error)}


def _flat(details: Any, where: str) -> Iterator[dict[str, str]]:
    """Name each field that is wrong: `actions.0` is the first of a list."""
    if isinstance(details, dict) and set(details) == {"message", "code"}:
        said = as_utf8(str(details["message"])[:LONGEST_DETAIL])  # it may repeat what was sent
        yield {"field": where, "detail": said, "code": str(details["code"])}
    elif isinstance(details, dict):
        for name, inner in details.items():
            yield from _flat(inner, _below(where, name))
    elif isinstance(details, list):
        is_leaf = all(isinstance(each, dict) and "message" in each for each in details)
        for index, inner in enumerate(details):
            yield from _flat(inner, where if is_leaf else _below(where, index))


def _below(where: str, name: Any) -> str:
    if name in ("non_field_errors", "__all__"):
        return where
    return f"{where}.{name}" if where else str(name)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(error.auth_header)  # type: ignore[attr-defined]  # set by DRF
    wait = getattr(error, "wait", None)
    if wait:
        headers["Retry-After"] = str(int(wait))
    return headers
