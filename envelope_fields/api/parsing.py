"""JSON from outside, of a size that is known, in the one encoding that JSON has (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.status import HTTP_411_LENGTH_REQUIRED, HTTP_413_REQUEST_ENTITY_TOO_LARGE

from envelope_fields.api.fields import shown

LARGEST_BODY = 1_048_576


class TooLarge(APIException):
    """A body that is larger than anything that is meant."""

    status_code = HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {LARGEST_BODY:,} bytes."
    default_code = "too_large"


class LengthRequired(APIException):
    """A body of a length that nobody said: Django and the framework would take it for none."""

    status_code = HTTP_411_LENGTH_REQUIRED
    default_detail = "Say how long the body is: Content-Length, and no chunks."
    default_code = "length_required"


def refuse_unknown_length(request: Any) -> None:
    """Return if the length of a body is known.

    Raises:
        LengthRequired: it comes in chunks.
    """
    if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
        raise LengthRequired


class _Twice(ValueError):
    """An object has a name twice, and no one knows which is meant (RFC 8259, 4)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class LimitedJSONParser(JSONParser):
    """Parses JSON; what is wrong with it is said without any of it."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        content = stream.read(LARGEST_BODY + 1)
        if len(content) > LARGEST_BODY:
            raise TooLarge
        problem, twice = "", None
        try:
            return json.loads(
                content.decode(), parse_constant=_refuse, object_pairs_hook=_each_once
            )
        except _Twice as error:
            twice = error.name
        except UnicodeDecodeError:
            problem = "The body is not UTF-8."
        except RecursionError:
            problem = "The body is nested too deeply."
        except ValueError as error:
            where = f" Line {error.lineno}." if isinstance(error, json.JSONDecodeError) else ""
            problem = f"The body is not JSON.{where}"
        finally:
            del content
        # Raised from here, since the errors above carry the body, which may be a plaintext.
        if twice is not None:
            raise ValidationError({shown(twice): ["Given more than once."]})
        raise ParseError(problem)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are not JSON
