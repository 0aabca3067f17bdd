"""A table for further wraps of key versions; PostgreSQL does not empty it, as others of keys."""

from typing import Any, ClassVar

import django.utils.timezone
from django.db import migrations, models, router

import envelope_fields.models

_TABLE = "envelope_fields_furtherwrap"
_KEEP = "envelope_fields_keep_keys"  # of 0003


def refuse_truncate(apps: Any, schema_editor: Any) -> None:
    if _keeps_keys(apps, schema_editor.connection):
        schema_editor.execute(
            f"CREATE TRIGGER {_KEEP} BEFORE TRUNCATE ON {_TABLE} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_KEEP}()"
        )


def allow_truncate(apps: Any, schema_editor: Any) -> None:
    if _keeps_keys(apps, schema_editor.connection):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {_KEEP} ON {_TABLE}")


def _keeps_keys(apps: Any, connection: Any) -> bool:
    model = apps.get_model("envelope_fields", "FurtherWrap")
    return connection.vendor == "postgresql" and router.allow_migrate_model(connection.alias, model)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0003_triggers")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="FurtherWrap",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "wrapped_material",
                    models.BinaryField(verbose_name="wrapped material"),
                ),
                (
                    "root_key",
                    models.CharField(editable=False, max_length=100, verbose_name="root key"),
                ),
                (
                    "wrapping_key_id",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        max_length=500,
                        verbose_name="wrapping key id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "version_id",
                    envelope_fields.models.VersionIdField(verbose_name="version id"),
                ),
            ],
            options={
                "verbose_name": "further wrap",
                "verbose_name_plural": "further wraps",
                "ordering": ["pk"],
                "default_permissions": (),
            },
        ),
        migrations.AddConstraint(
            model_name="furtherwrap",
            constraint=models.UniqueConstraint(
                fields=("version_id", "root_key"), name="envelope_fields_further_wrap"
            ),
        ),
        migrations.RunPython(refuse_truncate, allow_truncate, elidable=False),
    ]
