"""System checks: what a project declares, configures and stores, against what the fields can do.

Each id is explained in `docs/reference/checks.md`. What a field can tell by itself is checked in
`envelope_fields.fields.checks`.
"""

from django.core.checks import Tags, register as _register

from envelope_fields.checks import (
    begun,
    conversions,
    copies,
    indexes,
    keys,
    labels,
    models,
    principals,
    settings,
    tables,
    views,
)

__all__ = ["register"]


def register() -> None:
    """Have Django run the checks. Doing it twice does nothing: its registry is a set."""
    _register(settings.check_settings, Tags.security)
    _register(settings.check_root_keys, Tags.security, deploy=True)
    _register(settings.check_driver, Tags.compatibility)
    _register(settings.check_vendors, Tags.compatibility)
    _register(settings.check_tenant_apps, Tags.compatibility)
    _register(settings.check_worker, Tags.compatibility)
    _register(keys.check_stored_versions, Tags.database)
    _register(keys.check_further_wraps, Tags.database)
    _register(keys.check_aliases, Tags.database)
    _register(keys.check_triggers, Tags.database)
    _register(tables.check_key_tables, Tags.database)
    _register(tables.check_tables, Tags.database)
    _register(conversions.check_conversions, Tags.database)
    _register(conversions.check_column_moves, Tags.database)
    _register(conversions.check_models_beside, Tags.models)
    _register(principals.check_middleware, Tags.security)
    _register(principals.check_grants, Tags.database)
    _register(principals.check_declared, Tags.security)
    _register(principals.check_surfaces, Tags.security)
    _register(principals.check_channels, Tags.security)
    _register(models.check_models, Tags.models)
    _register(models.check_columns, Tags.database)
    _register(indexes.check_indexes, Tags.models)
    _register(begun.check_begun_indexes, Tags.database)
    _register(indexes.check_frequencies, Tags.database)
    _register(indexes.check_unindexed_rows, Tags.database)
    _register(labels.check_labels, Tags.models)
    _register(labels.check_renames, Tags.models)
    _register(views.check_admin, Tags.admin)
    _register(views.check_ordering, Tags.urls)
    _register(settings.check_serializers, Tags.security)
    _register(copies.check_copies_of_keys, Tags.security)
    _register(copies.check_copies_of_values, Tags.models)
    _register(copies.check_texts, Tags.models)
