"""System checks: what a project declares, configures and stores, against what the fields can do.

Each id is explained in `docs/reference/checks.md`. What a field can tell by itself is checked in
`envelope_fields.fields.field_checks`.
"""

from __future__ import annotations

from django.core.checks import Tags
from django.core.checks import register as _register

from envelope_fields.checks import (
    admin,
    audit,
    keys,
    labels,
    models,
    packages,
    principals,
    renames,
    serializers,
    settings,
)

__all__ = ["register"]


def register() -> None:
    """Have Django run the checks. Doing it twice does nothing: its registry is a set."""
    _register(settings.check_settings, Tags.security)
    _register(packages.check_driver, Tags.compatibility)
    _register(packages.check_worker, Tags.compatibility)
    _register(keys.check_stored_versions, Tags.database)
    _register(keys.check_aliases, Tags.database)
    _register(audit.check_triggers, Tags.database)
    _register(principals.check_middleware, Tags.security)
    _register(principals.check_grants, Tags.database)
    _register(models.check_models, Tags.models)
    _register(labels.check_labels, Tags.models)
    _register(renames.check_renames, Tags.models)
    _register(admin.check_admin, Tags.admin)
    _register(serializers.check_serializers, Tags.security)
