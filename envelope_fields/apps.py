"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EnvelopeFieldsConfig(AppConfig):
    """Registers what must be in place before the first model is used."""

    name = "envelope_fields"
    verbose_name = _("Envelope encryption")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from envelope_fields import (
            checks,
            default_key,
            key_fixtures,
            key_tables,
            key_uses,
            serializers,
        )
        from envelope_fields.audit import beginning, denied
        from envelope_fields.fields import fixtures, migrations
        from envelope_fields.grants import departures
        from envelope_fields.policy import news
        from envelope_fields.rotation import workers

        beginning.connect(self)
        checks.register()
        default_key.connect(self)
        denied.connect()
        departures.connect()
        fixtures.connect()
        key_fixtures.connect()
        key_tables.connect(self)
        key_uses.connect()
        migrations.connect(self)
        news.connect()
        serializers.register()
        workers.register()
        if self.apps is not None and self.apps.is_installed("django.contrib.admin"):
            from envelope_fields.fields import changelists

            changelists.register()
        if self.apps is not None and self.apps.is_installed("rest_framework"):
            from envelope_fields.fields import rest_framework

            rest_framework.register()
