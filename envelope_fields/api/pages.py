"""Long lists in pages: of keys by their number, of events by the event that one has come to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from rest_framework.exceptions import NotFound
from rest_framework.pagination import BasePagination, PageNumberPagination
from rest_framework.response import Response

from envelope_fields.api.fields import Query, WholeInQuery

LARGEST_PAGE = 200


class PageQuery(Query):
    """Which page of a list."""

    page = WholeInQuery(min_value=1, default=1)
    page_size = WholeInQuery(min_value=1, max_value=LARGEST_PAGE, default=50)


class Pages(PageNumberPagination):
    """Pages with a number; the view has checked what was asked for."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = LARGEST_PAGE

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except NotFound:
            raise NotFound("There is no such page.") from None

    def get_paginated_response_schema(self, schema: Any) -> Any:
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer", "example": 1},
                "next": _link(None),
                "previous": _link(None),
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[Any]:
        return []  # they are in the query of the view


class EventQuery(Query):
    """Which events, from where on."""

    page_size = WholeInQuery(min_value=1, max_value=LARGEST_PAGE, default=50)
    before = WholeInQuery(min_value=0, required=False)
    after = WholeInQuery(min_value=0, required=False)


class EventPages(BasePagination):
    """Newest first, or from an event on, oldest first: pages that new events do not move."""

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        asked = view.query
        self.request, self.size = request, asked["page_size"]
        self.is_forwards = "after" in asked
        if "before" in asked:
            queryset = queryset.filter(number__lt=asked["before"])
        if self.is_forwards:
            queryset = queryset.filter(number__gt=asked["after"])
        order = "number" if self.is_forwards else "-number"
        found = list(queryset.order_by(order)[: self.size + 1])
        self.has_more = len(found) > self.size
        self.last = found[self.size - 1].number if self.has_more else None
        return found[: self.size]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next(), "results": data})

    def get_paginated_response_schema(self, schema: Any) -> Any:
        more = _link("https://example.com/api/v1/events/?before=40")
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": more, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[Any]:
        return []

    def _next(self) -> str | None:
        if not self.has_more:
            return None
        query = self.request.query_params.dict()
        query["after" if self.is_forwards else "before"] = str(self.last)
        return f"{self.request.build_absolute_uri(self.request.path)}?{urlencode(query)}"


def _link(example: str | None) -> dict[str, Any]:
    return {"type": ["string", "null"], "format": "uri", "example": example}
