"""When keys were used, to the second; for how long caches may live; and no TRUNCATE of keys."""

from datetime import UTC, datetime, time
from typing import Any, ClassVar

from django.conf import settings
from django.db import migrations, models, router
from django.utils import timezone

_TABLES = (
    "envelope_fields_masterkey",
    "envelope_fields_masterkeyversion",
    "envelope_fields_auditkey",
)
_NAME = "envelope_fields_keep_keys"


def date_uses(apps: Any, schema_editor: Any) -> None:
    """Take the uses of a day for made at its end: no use is later than what is known of it."""
    using = schema_editor.connection.alias
    use_model = apps.get_model("envelope_fields", "KeyUse")
    if not router.allow_migrate_model(using, use_model):
        return
    uses = use_model.objects.using(using)
    now = timezone.now()
    for day in uses.order_by().values_list("day", flat=True).distinct():
        end = datetime.combine(day, time.max, tzinfo=UTC if settings.USE_TZ else None)
        uses.filter(day=day).update(used_at=min(end, now))


def refuse_truncate(apps: Any, schema_editor: Any) -> None:
    """Have PostgreSQL refuse to empty the tables of keys, unless the session allows it."""
    if not _has_triggers(apps, schema_editor.connection):
        return
    schema_editor.execute(
        f"""
        CREATE OR REPLACE FUNCTION {_NAME}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF pg_catalog.current_setting('envelope_fields.allow_truncate', true)
                IS DISTINCT FROM 'on'
            THEN
                RAISE EXCEPTION 'envelope_fields: every value under the keys of % would be lost',
                    TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation', HINT =
                'If no value is left: SET envelope_fields.allow_truncate = ''on''';
            END IF;
            RETURN NULL;
        END $$
        """,
        params=None,  # a percent sign means itself
    )
    for table in _TABLES:
        schema_editor.execute(
            f"CREATE TRIGGER {_NAME} BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_NAME}()"
        )


def allow_truncate(apps: Any, schema_editor: Any) -> None:
    """Drop the triggers."""
    if _has_triggers(apps, schema_editor.connection):
        for table in _TABLES:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {_NAME} ON {table}")
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {_NAME}()")


def _has_triggers(apps: Any, connection: Any) -> bool:
    return connection.vendor == "postgresql" and router.allow_migrate_model(
        connection.alias, apps.get_model("envelope_fields", "MasterKey")
    )


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0007_starts_that_are_sent_again")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="KeyCacheBound",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("seconds", models.FloatField(verbose_name="seconds")),
                ("lowered_at", models.DateTimeField(null=True, verbose_name="lowered at")),
                (
                    "seconds_before",
                    models.FloatField(default=0, verbose_name="seconds before that"),
                ),
            ],
            options={
                "verbose_name": "bound of key caches",
                "verbose_name_plural": "bounds of key caches",
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="keyuse",
            name="used_at",
            field=models.DateTimeField(null=True, verbose_name="last used at"),
        ),
        migrations.AddField(
            model_name="keyuse",
            name="refused",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="refused attempts"),
        ),
        migrations.AddField(
            model_name="keyuse",
            name="refused_at",
            field=models.DateTimeField(null=True, verbose_name="last refused at"),
        ),
        migrations.RunPython(date_uses, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(refuse_truncate, allow_truncate, elidable=False),
    ]
