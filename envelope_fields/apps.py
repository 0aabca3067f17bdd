"""The Django application."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class EnvelopeFieldsConfig(AppConfig):
    """Registers what must be in place before the first model is used."""

    name = "envelope_fields"
    verbose_name = _("Envelope encryption")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        # Other apps connect when all apps are there, so that whatever they do after a migration or
        # a flush comes behind this: django-guardian makes a user, whose fields may need a key.
        post_migrate.connect(_begin, dispatch_uid="envelope_fields.begin")

    def ready(self) -> None:
        _connect(self)
        _register()
        # What these apps have alone is imported where they are.
        if apps.is_installed("django.contrib.admin"):
            from envelope_fields.fields import admin

            admin.register()
        if apps.is_installed("rest_framework"):
            from envelope_fields.fields import rest_framework

            rest_framework.register()
        if apps.is_installed("import_export"):
            from envelope_fields.fields import import_export

            import_export.register()


def _connect(config: AppConfig) -> None:
    """Listen to signals."""
    from envelope_fields import forks, grants, migrating
    from envelope_fields.audit import denials, legacy_reads, uses
    from envelope_fields.fields.legacy.reading import on_read
    from envelope_fields.fixtures import conversions, keys, rights, serializers
    from envelope_fields.lifecycle import indexes, on_demand
    from envelope_fields.policy import users

    forks.cover_uwsgi()
    on_demand.connect()
    indexes.connect()
    denials.connect()
    grants.connect()
    serializers.connect()
    keys.connect()
    rights.connect()
    conversions.connect()
    uses.connect()
    legacy_reads.connect()
    on_read(legacy_reads.buffer.note)
    migrating.connect(config)
    users.connect()


def _register() -> None:
    """Take the places that Django, and the rooms below, have for what is of ours."""
    from envelope_fields import checks
    from envelope_fields.conversion import runs as conversion
    from envelope_fields.fields import forms, lookups, masks, searches
    from envelope_fields.fields.index import model_options
    from envelope_fields.fixtures import serializers
    from envelope_fields.indexing import runs as indexing
    from envelope_fields.jobs import dispatch
    from envelope_fields.rotation import scope

    checks.register()
    lookups.register()
    masks.register()
    forms.register()
    searches.register()
    model_options.register()
    serializers.register()
    dispatch.register()
    scope.register()
    conversion.register()
    indexing.register()


def _begin(*, sender: Any, **kwargs: Any) -> None:
    """Make what our tables begin with: once, although the signal is sent for each app."""
    from envelope_fields.audit import triggers
    from envelope_fields.lifecycle import indexes, on_demand

    with_models = (app for app in apps.get_app_configs() if app.models_module is not None)
    if sender is next(with_models, None):
        on_demand.repair(**kwargs)
        indexes.repair(**kwargs)
        triggers.bootstrap(**kwargs)
