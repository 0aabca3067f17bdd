"""Views of Django REST framework whose `OrderingFilter` may be asked for an encrypted column."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.urls import URLPattern, URLResolver, get_resolver

from envelope_fields.checks.references import AppConfigs, encrypted_among


def check_ordering(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check the views that the project's addresses lead to."""
    if not apps.is_installed("rest_framework") or not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [message for view in _views() for message in _check(view)]


def _views() -> list[type]:
    """Return each class of views once."""
    found = (getattr(view, "cls", None) for view in _callbacks(get_resolver()))
    return [view for view in dict.fromkeys(found) if view is not None]


def _callbacks(resolver: URLResolver) -> Iterator[Any]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.callback
        else:
            yield from _callbacks(pattern)


def _check(view: Any) -> Iterator[CheckMessage]:
    from rest_framework.filters import OrderingFilter

    ordering = [
        each
        for each in getattr(view, "filter_backends", ())
        if isinstance(each, type) and issubclass(each, OrderingFilter)
    ]
    model = _model(view)
    if not ordering or model is None:
        return
    for field in encrypted_among(model, _names(view, model, ordering[0])):
        yield Warning(
            f"OrderingFilter offers the encrypted field {field}.",
            hint="The order of envelopes means nothing, so it is ignored when it is asked for. "
            "Name other columns in 'ordering_fields', and in 'ordering'.",
            obj=view,
            id="envelope_fields.W045",
        )


def _model(view: Any) -> Any:
    queryset = getattr(view, "queryset", None)
    if queryset is not None:
        return queryset.model
    return getattr(getattr(_serializer(view), "Meta", None), "model", None)


def _serializer(view: Any) -> Any:
    return getattr(view, "serializer_class", None)


def _names(view: Any, model: Any, ordering_filter: Any) -> list[Any]:
    """Return the names that a view can be asked to order by, and those that it orders by."""
    first = getattr(view, "ordering", None) or ()
    declared = getattr(view, "ordering_fields", ordering_filter.ordering_fields)
    if declared == "__all__":
        declared = [field.name for field in model._meta.fields]
    elif declared is None:
        declared = _shown(_serializer(view))
    pairs = [name if isinstance(name, str) else name[0] for name in declared]
    return [*([first] if isinstance(first, str) else first), *pairs]


def _shown(serializer: Any) -> list[str]:
    """Return the sources of what a serializer shows, by which one may order without a list."""
    if serializer is None:
        return []
    try:
        fields = serializer().fields.values()
    except Exception:  # it takes arguments; the framework reports that, or a test
        return []
    return [str(field.source).replace(".", "__") for field in fields if not field.write_only]
