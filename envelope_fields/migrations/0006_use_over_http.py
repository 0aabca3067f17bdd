"""A permission for the data operations of the HTTP API."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0005_rotation_runs")]

    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="masterkey",
            options={
                "default_permissions": ("add", "change", "view"),
                "ordering": ["alias"],
                "permissions": [
                    ("rotate_masterkey", "Can rotate master key"),
                    ("enable_masterkey", "Can enable master key"),
                    ("disable_masterkey", "Can disable master key"),
                    ("schedule_deletion_masterkey", "Can schedule deletion of master key"),
                    ("cancel_deletion_masterkey", "Can cancel deletion of master key"),
                    ("shred_masterkey", "Can shred master key"),
                    ("move_alias_masterkey", "Can move alias of master key"),
                    ("use_masterkey", "Can encrypt and decrypt with master key over HTTP"),
                ],
                "verbose_name": "master key",
                "verbose_name_plural": "master keys",
            },
        ),
    ]
