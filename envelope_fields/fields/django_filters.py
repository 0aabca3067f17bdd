"""django-filter: a filter of what no value can be finds nothing, as a search in the admin does.

Imported only where the project has installed it.
"""

from functools import wraps
from importlib import import_module
from typing import Any

from envelope_fields.fields.index.terms import finding_nothing


def register() -> None:
    """Have filters find nothing in an index where the normal form of what is filtered is empty."""
    filter_set: Any = import_module("django_filters.filterset").BaseFilterSet
    filter_queryset = filter_set.filter_queryset
    if hasattr(filter_queryset, "__wrapped__"):
        return

    @wraps(filter_queryset)
    def filtered(self: Any, queryset: Any) -> Any:
        with finding_nothing():
            return filter_queryset(self, queryset)

    filter_set.filter_queryset = filtered
