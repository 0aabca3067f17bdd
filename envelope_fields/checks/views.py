"""Pages that search, filter or order by an encrypted column: most would be an error 500.

Admin classes, and views of Django REST framework whose `OrderingFilter` may be asked for it.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import URLPattern, URLResolver, get_resolver

from envelope_fields.checks.models import (
    AppConfigs,
    encrypted_among,
    encrypted_part,
    is_in_clear,
    until_the_switch,
)
from envelope_fields.fields.admin import EncryptedAdminMixin

_ADMIN = "django.contrib.admin"


def check_admin(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check the admin classes of every admin site."""
    if not apps.is_installed(_ADMIN):
        return []
    from django.contrib.admin.sites import all_sites

    labels = None if app_configs is None else {app.label for app in app_configs}
    return [
        message
        for site in all_sites
        for admin in site._registry.values()
        if hasattr(admin.opts, "get_field")  # a package may show what is not a model
        if labels is None or admin.opts.app_label in labels
        for message in _check(admin)
    ]


# Of an admin class: the option, the id of the error, and what to do instead.
_OPTIONS = (
    ("search_fields", "envelope_fields.E040",
     "Nothing can be searched in envelopes, also not by autocomplete. Remove it; or add a blind "
     "index that folds case, such as normalizer='email', and write '=' before the name."),
    ("list_filter", "envelope_fields.E041",
     "Rows cannot be filtered by envelopes. Remove it, or give a filter class of "
     "your own that asks `isnull` or a blind index."),
    ("date_hierarchy", "envelope_fields.E043",
     "Dates cannot be taken out of envelopes. Remove it, or use another column."),
    ("ordering", "envelope_fields.E042",
     "The order of envelopes means nothing. Order by another column."),
)  # fmt: skip


# What works on a column in clear that is being converted: no expression is computed on it.
_IN_CLEAR = ("search_fields", "list_filter", "ordering")


def _check(admin: Any) -> Iterator[CheckMessage]:
    for option, number, hint in _OPTIONS:
        yield from _refers(admin, option, number, hint)
    yield from _list_display(admin)
    yield from _unopened(admin)
    yield from _in_clear(admin)
    for inline in admin.inlines:
        if getattr(inline, "model", None):  # else Django says so
            yield from _refers(inline, *_OPTIONS[-1])
            yield from _in_clear(inline)


def _refers(admin: Any, option: str, number: str, hint: str) -> Iterator[CheckMessage]:
    obj = admin if isinstance(admin, type) else type(admin)
    for field in _named_by(admin, option):
        if option in _IN_CLEAR and is_in_clear(field):
            yield until_the_switch(field, option, obj)
        else:
            problem = f"'{option}' refers to the encrypted field {field}."
            yield Error(problem, hint=hint, obj=obj, id=number)


def _named_by(admin: Any, option: str) -> list[Any]:
    """Return the encrypted fields that an option of an admin class names."""
    declared = getattr(admin, option) or ()
    if option == "list_filter":
        return [
            field
            for item in declared
            for field in encrypted_among(admin.model, [_filtered(item)])
            if not _filters_nulls(item, field)
        ]
    if option == "search_fields":
        names = [declared] if isinstance(declared, str) else declared
        declared = [
            str(path).lstrip("^=@") for path in names if not _is_indexed(admin.model, str(path))
        ]
    return encrypted_among(admin.model, [declared] if isinstance(declared, str) else declared)


def _is_indexed(model: Any, path: str) -> bool:
    """Whether the admin searches an encrypted field by a lookup that one of its indexes has."""
    field, names = encrypted_part(model, path.lstrip("^=@"))
    if field is None:
        return False
    if path.startswith("="):
        names = (*names, "iexact")
    elif path.startswith(("^", "@")) or not names:
        return False
    return bool(field.indexed_lookup(names[:-1], names[-1]) or field.indexed_lookup(names, "exact"))


def _filtered(item: Any) -> Any:
    """Return the path that Django filters by, or None for a filter that the project wrote."""
    if isinstance(item, list | tuple):
        path, filter_class = item
        return path if str(filter_class.__module__).startswith(_ADMIN) else None
    return item if isinstance(item, str) else None


def _filters_nulls(item: Any, field: Any) -> bool:
    """Whether a filter asks for NULL alone; the one for empty values asks for "" as well."""
    from django.contrib.admin import EmptyFieldListFilter

    return (
        not isinstance(item, str)
        and item[1] is EmptyFieldListFilter
        and not field.empty_strings_allowed
    )


def _list_display(admin: Any) -> Iterator[CheckMessage]:
    sortable = admin.list_display if admin.sortable_by is None else admin.sortable_by
    shown = [column for column in admin.list_display if column in sortable]
    for field in encrypted_among(admin.model, [_order_of(admin, column) for column in shown]):
        yield Warning(
            f"'list_display' shows the encrypted field {field}, and 'sortable_by' does not leave "
            "it out.",
            hint="The list cannot be sorted by envelopes, so its header is not a link. Name the "
            "other columns in 'sortable_by'.",
            obj=type(admin),
            id="envelope_fields.W044",
        )


def _unopened(admin: Any) -> Iterator[CheckMessage]:
    """Find lists that one value which cannot be opened would turn into an error page."""
    if isinstance(admin, EncryptedAdminMixin):
        return
    for field in encrypted_among(admin.model, [str(column) for column in admin.list_display]):
        yield Warning(
            f"'list_display' shows the encrypted field {field}, and one value that cannot be "
            "opened makes the list an error page.",
            hint="Put envelope_fields.fields.admin.EncryptedAdminMixin before ModelAdmin: it shows "
            "the other rows, and says which value cannot be opened.",
            obj=type(admin),
            id="envelope_fields.W046",
        )


def _in_clear(admin: Any) -> Iterator[CheckMessage]:
    """Find what has the admin write values in clear."""
    obj = admin if isinstance(admin, type) else type(admin)
    for field in encrypted_among(admin.model, read_by(admin.model, "__str__", set())):
        yield Warning(
            f"'__str__' of {admin.model._meta.label} reads the encrypted field {field}.",
            hint="The admin writes the text of an object into its log and its messages, in clear. "
            "Have '__str__' return something else.",
            obj=obj,
            id="envelope_fields.W047",
        )
    declared = admin.prepopulated_fields
    # Of what is not a dictionary of lists, Django says so.
    for name, sources in declared.items() if isinstance(declared, dict) else ():
        if isinstance(sources, list | tuple) and not encrypted_among(admin.model, [name]):
            for field in encrypted_among(admin.model, sources):
                yield Warning(
                    f"'prepopulated_fields' makes '{name}' of the encrypted field {field}.",
                    hint=f"'{name}' would have its words in clear. Remove it.",
                    obj=obj,
                    id="envelope_fields.W048",
                )


def read_by(model: Any, name: str, seen: set[str]) -> Iterator[str]:
    """Yield the names that a method of a model reads, and that the methods read which it calls."""
    method = inspect.getattr_static(model, name, None)
    if isinstance(method, str):  # such as USERNAME_FIELD
        yield method
    code = getattr(inspect.unwrap(getattr(method, "fget", method)), "__code__", None)
    if code is not None and name not in seen:
        seen.add(name)
        for read in code.co_names:
            yield read
            yield from read_by(model, read, seen)


def _order_of(admin: Any, column: Any) -> Any:
    """Return what a click on a column would order by, or None."""
    if isinstance(column, str) and not hasattr(admin, column):
        method = getattr(admin.model, column, None)
        return getattr(getattr(method, "fget", method), "admin_order_field", column)
    method = getattr(admin, column) if isinstance(column, str) else column
    return getattr(method, "admin_order_field", None)


# -- Views of Django REST framework ----------------------------------------------------------------


def check_ordering(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check the views that the project's addresses lead to."""
    if not apps.is_installed("rest_framework") or not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [message for view in _views() for message in _check_view(view)]


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


def _check_view(view: Any) -> Iterator[CheckMessage]:
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
