"""What root keys wrap with, and which key versions were opened once."""

from typing import Any, ClassVar

from django.db import migrations, models, router
from django.db.models import F


def tell_what_was_opened(apps: Any, schema_editor: Any) -> None:
    """Until now a version was opened when it was made."""
    using = schema_editor.connection.alias
    version_model = apps.get_model("envelope_fields", "MasterKeyVersion")
    if router.allow_migrate_model(using, version_model):
        version_model.objects.using(using).update(opened_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0010_rotations_in_schemas")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="auditkey",
            name="wrapping_key_id",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=500,
                verbose_name="wrapping key id",
            ),
        ),
        migrations.AddField(
            model_name="masterkey",
            name="root_key",
            field=models.CharField(
                editable=False,
                help_text="What wraps its versions. Empty: the first root key of the settings.",
                max_length=100,
                null=True,
                verbose_name="root key",
            ),
        ),
        migrations.AddField(
            model_name="masterkeyversion",
            name="opened_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="opened at"),
        ),
        migrations.AddField(
            model_name="masterkeyversion",
            name="wrapping_key_id",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                max_length=500,
                verbose_name="wrapping key id",
            ),
        ),
        migrations.RunPython(tell_what_was_opened, migrations.RunPython.noop, elidable=False),
    ]
