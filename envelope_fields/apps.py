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
        from envelope_fields import checks, default_key, key_fixtures, key_tables, serializers
        from envelope_fields.fields import fixtures, migrations

        checks.register()
        default_key.connect(self)
        fixtures.connect()
        key_fixtures.connect()
        key_tables.connect(self)
        migrations.connect(self)
        serializers.register()
