"""How a request comes in: its user, its body, the page it asks for, its rate, and its version."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from django.http import HttpRequest
from django.urls import reverse
from drf_spectacular.plumbing import append_meta
from rest_framework import exceptions, pagination, parsers, throttling, versioning
from rest_framework.settings import api_settings

from envelope_fields.api.fields import IntegerInQuery, Query, printable
from envelope_fields.api.problems import IDEMPOTENCY_KEY, LARGEST_BODY, LengthRequired, TooLarge
from envelope_fields.jobs.dispatch import NOT_REPEATED, IdempotencyKey
from envelope_fields.middleware import RequestUser, origin_of
from envelope_fields.policy import current_principal, origin
from envelope_fields.policy.principals import bound
from envelope_fields.policy.requests import NOWHERE, coming_from, handled

V1 = "v1"
READ, CHANGE = "envelope_fields.read", "envelope_fields.change"
CENSUS, DATA = "envelope_fields.census", "envelope_fields.data"
LARGEST_PAGE = 200
_VERSION = re.compile(r"v\d+")
# Of the addresses of this API; others are of the address around it.
OWN_PARAMETERS = frozenset({"id", "number", "grant", "index", "run"})


@contextmanager
def acting(request: HttpRequest) -> Iterator[None]:
    """Bind the user of a request to the code inside, whatever is bound outside.

    The user is looked up when a key is asked for: anonymous before the framework has authenticated
    the request, and the user that it found from then on. It holds without the middleware, too.
    """
    with ExitStack() as stack:
        if origin() == NOWHERE:
            stack.enter_context(handled())
            stack.enter_context(coming_from(origin_of(request)))
        stack.enter_context(bound(RequestUser.of(request)))
        yield


class Throttle(throttling.ScopedRateThrottle):
    """Counts requests in the scopes of this API; one without a rate is not limited."""

    # Not `throttle_scope`: the framework's class wants a rate for each scope that it meets.
    scope_attr = "own_throttle_scope"

    def get_rate(self) -> Any:
        rates: Any = api_settings.DEFAULT_THROTTLE_RATES
        return rates.get(self.scope)


class ByNamespace(versioning.NamespaceVersioning):
    """Takes `include("envelope_fields.api.urls", namespace="v1")` for version 1, and none, too.

    So it does below `api/<version>/`, as the framework's `URLPathVersioning` has it.
    """

    default_version = V1
    allowed_versions = (V1,)

    def determine_version(self, request: Any, *args: Any, **kwargs: Any) -> str:
        in_path = str(around(request).get(self.version_param, ""))
        named = [name for name in (*_namespaces(request), in_path) if _VERSION.fullmatch(name)]
        if any(name not in self.allowed_versions for name in named):
            raise exceptions.NotFound("There is no such version of this API.")
        return named[-1] if named else V1


def url_of(request: Any, name: str, **kwargs: Any) -> str:
    """Return the address of a view of the API, below the address where the project includes it."""
    path = reverse(":".join([*_namespaces(request), name]), kwargs={**around(request), **kwargs})
    return str(request.build_absolute_uri(path))


def around(request: Any) -> dict[str, Any]:
    """Return the parameters of the address below which the project includes the API."""
    match = getattr(request, "resolver_match", None)
    given = match.kwargs if match else {}
    return {name: given[name] for name in given if name not in OWN_PARAMETERS}


def _namespaces(request: Any) -> list[str]:
    match = getattr(request, "resolver_match", None)
    return list(match.namespaces) if match else []


# -- The body: JSON of a known size, in the one encoding that JSON has (RFC 8259) ------------------


def refuse_unknown_length(request: Any) -> None:
    """Return if the length of a body is known.

    Raises:
        LengthRequired: it comes in chunks.
    """
    if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
        raise LengthRequired


class _Twice(ValueError):
    """An object has a name twice, so that it is not known which is meant (RFC 8259, 4)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class LimitedJSONParser(parsers.JSONParser):
    """Parses JSON; errors repeat nothing of it."""

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
            line = f" Line {error.lineno}." if isinstance(error, json.JSONDecodeError) else ""
            problem = f"The body is not JSON.{line}"
        finally:
            del content
        # Raised from here, since the errors above hold the body, which may be a plaintext.
        if twice is not None:
            raise exceptions.ValidationError({printable(twice): ["Given more than once."]})
        raise exceptions.ParseError(problem)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are not JSON


# -- The name of a request that may be sent again --------------------------------------------------

# A String of structured fields, as draft-ietf-httpapi-idempotency-key-header has it; or the same
# without its quotes, as many clients send it.
_QUOTED, _BARE = r'"(?:[ !#-\[\]-~]|\\["\\]){1,200}"', "[A-Za-z0-9._:/+=@-]{1,200}"
NAME_OF_REQUEST = rf"\A(?:{_QUOTED}|{_BARE})\Z"


def idempotency_key(request: Any, given: Mapping[str, Any]) -> IdempotencyKey:
    """Return the name of a start, by which one that is sent again finds the first run.

    Args:
        request: has it in its header.
        given: what is started.

    Raises:
        ValidationError: it is not such a name.
    """
    header = request.headers.get(IDEMPOTENCY_KEY)
    if header is None:
        return NOT_REPEATED
    if not re.match(NAME_OF_REQUEST, header):
        problem = 'Write it as "deploy-1742", with at most 200 characters of ASCII.'
        raise exceptions.ValidationError({IDEMPOTENCY_KEY: [problem]})
    name = re.sub(r"\\(.)", r"\1", header[1:-1]) if header.startswith('"') else header
    return IdempotencyKey.of(current_principal(), name, given)


# -- Long lists in pages ---------------------------------------------------------------------------


class PageQuery(Query):
    """Which page of a list."""

    page = IntegerInQuery(min_value=1, default=1)
    page_size = IntegerInQuery(min_value=1, max_value=LARGEST_PAGE, default=50)


class Pages(pagination.PageNumberPagination):
    """Pages with a number; the view has checked what was asked for."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = LARGEST_PAGE

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except exceptions.NotFound:
            raise exceptions.NotFound("There is no such page.") from None

    def get_paginated_response_schema(self, schema: Any) -> Any:
        count = {"type": "integer", "example": 1}
        links = {"next": nullable_link(None), "previous": nullable_link(None)}
        return object_of({"count": count, **links, "results": schema})

    def get_schema_operation_parameters(self, view: Any) -> list[Any]:
        return []  # they are in the query of the view


def nullable_link(example: str | None) -> dict[str, Any]:
    """Return the schema of an address that may be null."""
    return append_meta({"type": "string", "format": "uri"}, {"nullable": True, "example": example})


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has all of some properties."""
    return {"type": "object", "required": list(properties), "properties": properties}
