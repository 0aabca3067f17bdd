"""Who made a master key, and whether fields that name its alias may write under it.

Keys that users made, by what the audit trail says, serve no fields until they are adopted:
`python manage.py adopt_master_key ALIAS`.
"""

from typing import Any, ClassVar

from django.db import migrations, models, router


def tell_who_made_keys(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    key_model = apps.get_model("envelope_fields", "MasterKey")
    event_model = apps.get_model("envelope_fields", "AuditEvent")
    if not router.allow_migrate_model(using, key_model):
        return
    made = event_model.objects.using(using).filter(action="create_key", outcome="done")
    by_users = made.exclude(actor_type="application").exclude(key_id=None)
    for key_id, actor_type, actor_id in by_users.values_list("key_id", "actor_type", "actor_id"):
        key_model.objects.using(using).filter(pk=key_id).update(
            creator_type=actor_type, creator_id=actor_id, serves_fields=False
        )


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0008_second_witness")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="masterkey",
            name="creator_type",
            field=models.CharField(
                db_default="application",
                default="application",
                editable=False,
                max_length=100,
                verbose_name="creator type",
            ),
        ),
        migrations.AddField(
            model_name="masterkey",
            name="creator_id",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=64,
                verbose_name="creator id",
            ),
        ),
        migrations.AddField(
            model_name="masterkey",
            name="serves_fields",
            field=models.BooleanField(
                db_default=True,
                default=True,
                editable=False,
                help_text="Whether fields that name its alias may write under it.",
                verbose_name="serves fields",
            ),
        ),
        migrations.RunPython(tell_who_made_keys, migrations.RunPython.noop, elidable=False),
    ]
