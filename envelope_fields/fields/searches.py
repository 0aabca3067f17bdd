"""Searches of Django and of other packages, such as logins: what no value can be finds nothing.

A client may send anything as a name, such as an empty one in a header. To look for that in a blind
index is an error, which Django would let through: the answer would be a 500, or a command end in a
traceback. In a search of several columns, others may have the term.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from envelope_fields.fields.patches import extend

_AUTH, _ADMIN = "django.contrib.auth", "django.contrib.admin"
# Each app, with a class of it that searches, and the methods in which it does.
_SEARCHES = (
    (_AUTH, f"{_AUTH}.backends.ModelBackend", ("authenticate", "aauthenticate")),
    (
        _AUTH,
        f"{_AUTH}.base_user.BaseUserManager",
        ("get_by_natural_key", "aget_by_natural_key"),
    ),
    (_ADMIN, f"{_ADMIN}.options.ModelAdmin", ("get_search_results",)),
    ("rest_framework", "rest_framework.filters.SearchFilter", ("filter_queryset",)),
    ("django_filters", "django_filters.filterset.BaseFilterSet", ("filter_queryset",)),
)

# Whether what leaves nothing to look for finds nothing, where it would be an error otherwise.
finds_nothing: ContextVar[bool] = ContextVar("finds_nothing", default=False)


@contextmanager
def finding_nothing() -> Iterator[None]:
    """Have what leaves nothing to look for find nothing: users write it, and mean other columns."""
    before = finds_nothing.set(True)
    try:
        yield
    finally:
        finds_nothing.reset(before)


def _searching(method: Any) -> Any:
    @sensitive_variables()
    def found(*args: Any, **kwargs: Any) -> Any:
        with finding_nothing():
            return method(*args, **kwargs)

    @sensitive_variables()
    async def afound(*args: Any, **kwargs: Any) -> Any:
        with finding_nothing():
            return await method(*args, **kwargs)

    return afound if iscoroutinefunction(method) else found


def register() -> None:
    """Have the searches of each app that is installed find nothing for no value."""
    for app, owner, names in _SEARCHES:
        if apps.is_installed(app):
            for name in names:
                extend(import_string(owner), name, _searching)
