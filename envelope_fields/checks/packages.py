"""Packages that keep copies: of the rows of keys, of values in clear, or of the texts of objects.

What they copy is their settings' and registries' to say, so these are asked.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import CharField, Model, TextField


class Package(NamedTuple):
    """A package that keeps copies.

    Attributes:
        name: as it is installed.
        kept_in: where its copies are.
        copies: whether it copies a field of a model; None stands for each row as a whole.
        leave_out: the setting that keeps the rows of keys out of it.
        leave_out_field: how a field is kept out; None where no value is in clear there.
        text_in: where it keeps the texts of objects, in clear.
        keeps_text: of objects of which models it does that.
    """

    name: str
    kept_in: str
    copies: Callable[[type[Model], str | None], bool]
    leave_out: str
    leave_out_field: str | None
    text_in: str = ""
    keeps_text: Callable[[type[Model]], bool] | None = None


def _cachalot(model: type[Model], field: str | None) -> bool:
    return bool(import_module("cachalot.utils").filter_cachable({model._meta.db_table}))


def _cacheops(model: type[Model], field: str | None) -> bool:
    profile = import_module("cacheops.conf").model_profile(model)
    return bool(profile and profile["ops"])


def _is_login_name(model: type[Model], field: str | None) -> bool:
    return model is get_user_model() and field == get_user_model().USERNAME_FIELD


def _axes(model: type[Model], field: str | None) -> bool:
    settings = import_module("axes.conf").settings
    is_stored = settings.AXES_ENABLED and settings.AXES_HANDLER.endswith("AxesDatabaseHandler")
    is_replaced = settings.AXES_USERNAME_CALLABLE and settings.AXES_DISABLE_ACCESS_LOG
    return is_stored and not is_replaced and _is_login_name(model, field)


def _easyaudit(model: type[Model], field: str | None) -> bool:
    settings = import_module("easyaudit.settings")
    if settings.WATCH_AUTH_EVENTS and _is_login_name(model, field):
        return True
    if not settings.WATCH_MODEL_EVENTS or issubclass(model, tuple(settings.UNREGISTERED_CLASSES)):
        return False
    chosen = tuple(settings.REGISTERED_CLASSES)
    return not chosen or issubclass(model, chosen)


def _auditlog(model: type[Model], field: str | None) -> bool:
    registry = import_module("auditlog.registry").auditlog
    if not registry.contains(model):
        return False
    fields = registry.get_model_fields(model)
    return field in (fields["include_fields"] or [field]) and field not in fields["exclude_fields"]


def _auditlog_text(model: type[Model]) -> bool:
    return bool(import_module("auditlog.registry").auditlog.contains(model))


def _easyaudit_text(model: type[Model]) -> bool:
    return _easyaudit(model, None)


def _none(model: type[Model], field: str | None) -> bool:
    return False


def _reversion_text(model: type[Model]) -> bool:
    return bool(import_module("reversion").is_registered(model))


def _wagtail_text(model: type[Model]) -> bool:
    is_snippet = apps.is_installed("wagtail.snippets") and (
        model in import_module("wagtail.snippets.models").get_snippet_models()
    )
    return is_snippet or issubclass(model, import_module("wagtail.models").RevisionMixin)


def _modelsearch(model: type[Model], field: str | None) -> bool:
    try:
        index = import_module("modelsearch.index")
    except ModuleNotFoundError:  # an older Wagtail has its own
        index = import_module("wagtail.search.index")
    return any(
        (each, name) == (model, field)
        for indexed in index.get_indexed_models()
        for each, name in _indexed(indexed, indexed.get_search_fields())
    )


def _indexed(model: Any, declared: Any) -> Iterator[tuple[Any, str]]:
    for each in declared:
        if hasattr(each, "fields"):  # those of a related model
            related = each.get_field(model).related_model
            yield from _indexed(related, each.fields)
        else:
            yield from ((base, each.field_name) for base in (model, *model._meta.all_parents))


def _parler(model: type[Model], field: str | None) -> bool:
    is_caching = import_module("parler.appsettings").PARLER_ENABLE_CACHING
    mixin = import_module("parler.models").TranslatedFieldsModelMixin
    return bool(is_caching) and issubclass(model, mixin)


def _watson(model: type[Model], field: str | None) -> bool:
    engine = import_module("watson.search").default_search_engine
    if not engine.is_registered(model):
        return False
    adapter = engine.get_adapter(model)
    texts = [each.name for each in model._meta.fields if isinstance(each, CharField | TextField)]
    return field in (adapter.fields or texts) and field not in adapter.exclude


def _algolia(model: type[Model], field: str | None) -> bool:
    engine = import_module("algoliasearch_django.registration").algolia_engine
    if not engine.is_registered(model):
        return False
    named = engine.get_adapter(model).fields  # all, where it names none
    return any(field == (each if isinstance(each, str) else each[0]) for each in named)


def _cqrs(model: Any, field: str | None) -> bool:
    is_sent = issubclass(model, import_module("dj_cqrs.mixins").RawMasterMixin)
    return is_sent and _is_among(field, model.CQRS_FIELDS, model.CQRS_TRACKED_FIELDS)


def _is_among(field: str | None, *chosen: Any) -> bool:
    return any(names == "__all__" or field in names for names in chosen if names)


def _field_audit(model: type[Model], field: str | None) -> bool:
    audited = model in import_module("field_audit.field_audit").get_audited_models()
    service = import_module("field_audit.services").get_audit_service()
    return audited and field in service.get_field_names(model)


def _solo(model: type[Model], field: str | None) -> bool:
    is_caching = getattr(settings, "SOLO_CACHE", None)
    return bool(is_caching) and issubclass(model, import_module("solo.models").SingletonModel)


def _tracking_fields(model: type[Model], field: str | None) -> bool:
    return field in getattr(model, "_tracked_fields", ())


def _localize(model: type[Model], field: str | None) -> bool:
    if not issubclass(model, import_module("wagtail.models").TranslatableMixin):
        return False
    fields = import_module("wagtail_localize.fields")
    return any(
        isinstance(each, fields.TranslatableField) or getattr(each, "overridable", False)
        for each in fields.get_translatable_fields(model)
        if each.field_name == field and isinstance(each.get_field(model), CharField | TextField)
    )


_SEARCH = Package(
    "django-modelsearch", "the index that Wagtail searches", _modelsearch, "",
    "Leave the field out of search_fields.",
)  # fmt: skip
PACKAGES = {
    "cachalot": Package(
        "django-cachalot", "its cache", _cachalot,
        'Set CACHALOT_UNCACHABLE_APPS = ("envelope_fields",).', None,
    ),
    "cacheops": Package(
        "django-cacheops", "Redis", _cacheops,
        'Give CACHEOPS an entry "envelope_fields.*": None.',
        "Objects that code has not looked at are cached with envelopes, and values(), "
        "values_list() and annotations with values, for which no policy and no key is asked then. "
        "Set no ops for the model.",
    ),
    "easyaudit": Package(
        "django-easy-audit", "CRUDEvent, or names of logins in LoginEvent", _easyaudit,
        "Name them in DJANGO_EASY_AUDIT_UNREGISTERED_CLASSES_EXTRA.",
        "Name the model in DJANGO_EASY_AUDIT_UNREGISTERED_CLASSES_EXTRA. For the name of a login, "
        "set DJANGO_EASY_AUDIT_WATCH_AUTH_EVENTS = False as well.",
        "CRUDEvent.object_repr", _easyaudit_text,
    ),
    "axes": Package(
        "django-axes", "AccessAttempt and AccessLog", _axes, "",
        "Set AXES_DISABLE_ACCESS_LOG = True, and AXES_USERNAME_CALLABLE to a function that returns "
        "something else for a name.",
    ),
    "auditlog": Package(
        "django-auditlog", "the changes of LogEntry", _auditlog,
        'Name "envelope_fields" in AUDITLOG_EXCLUDE_TRACKING_MODELS, and register none of them.',
        "Register the model with exclude_fields=[…]; mask_fields shows half of each value.",
        "LogEntry.object_repr", _auditlog_text,
    ),
    "parler": Package(
        "django-parler", "Django's cache", _parler, "",
        "Set PARLER_ENABLE_CACHING = False: a translation that one user has read is given to the "
        "next one out of the cache.",
    ),
    "watson": Package(
        "django-watson", "the texts of SearchEntry", _watson, "",
        "Register the model with exclude=[…]: it takes each text field otherwise.",
    ),
    "algoliasearch_django": Package(
        "algoliasearch-django", "Algolia's index", _algolia, "",
        "Name other fields in the index's `fields`: it takes all where it names none.",
    ),
    "dj_cqrs": Package(
        "django-cqrs", "the messages of its queue", _cqrs, "",
        "Name other fields in CQRS_FIELDS and CQRS_TRACKED_FIELDS.",
    ),
    "field_audit": Package(
        "django-field-audit", "AuditEvent.delta", _field_audit, "",
        "Name other fields in audit_fields().",
    ),
    "solo": Package(
        "django-solo", "the cache of SOLO_CACHE", _solo, "",
        "Set SOLO_CACHE = None: an object that was saved is cached with its values.",
    ),
    "tracking_fields": Package(
        "django-tracking-fields", "TrackedFieldModification", _tracking_fields, "",
        "Name other fields in track().",
    ),
    "wagtail_localize": Package(
        "wagtail-localize", "String or OverridableSegment", _localize, "",
        'Add SynchronizedField("…", overridable=False) to override_translatable_fields: it keeps '
        "each text field otherwise.",
    ),
    "modelsearch": _SEARCH,
    "wagtail.search": _SEARCH,
    "reversion": Package(
        "django-reversion", "", _none, "", None, "Version.object_repr", _reversion_text
    ),
    "wagtail": Package(
        "Wagtail", "", _none, "", None,
        "Revision.object_str and ModelLogEntry.label", _wagtail_text,
    ),
}  # fmt: skip


def installed() -> list[Package]:
    """Return the packages that are installed, each once: some consist of several apps."""
    found = (package for app, package in PACKAGES.items() if apps.is_installed(app))
    return list(dict.fromkeys(found))
