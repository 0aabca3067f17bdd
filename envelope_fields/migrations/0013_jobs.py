"""Runs about several keys, and the field's words for passes, columns and heartbeats."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0012_channels_of_uses")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="RotationKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("active_key", models.UUIDField(editable=False, null=True, unique=True)),
                ("total", models.BigIntegerField(default=0, verbose_name="total")),
                ("remaining", models.BigIntegerField(default=0, verbose_name="remaining")),
                (
                    "master_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="envelope_fields.masterkey",
                        verbose_name="master key",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="keys",
                        to="envelope_fields.rotationrun",
                    ),
                ),
            ],
            options={
                "verbose_name": "key of a rotation",
                "verbose_name_plural": "keys of rotations",
                "ordering": ["pk"],
                "default_permissions": (),
            },
        ),
        migrations.RemoveField(model_name="rotationrun", name="active_key"),
        migrations.AlterField(
            model_name="rotationrun",
            name="master_key",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="runs",
                to="envelope_fields.masterkey",
                verbose_name="master key",
            ),
        ),
        migrations.RenameField("rotationrun", "sweep", "pass_number"),
        migrations.RenameField("rotationrun", "seen_at", "heartbeat_at"),
        migrations.RemoveConstraint("rotationrange", "envelope_rotation_range"),
        migrations.RenameModel("RotationPlace", "RotationColumn"),
        migrations.RenameField("rotationrange", "place", "column"),
        migrations.RenameField("rotationrange", "sweep", "pass_number"),
        migrations.AddConstraint(
            "rotationrange",
            models.UniqueConstraint(
                fields=("column", "pass_number", "number"), name="envelope_rotation_range"
            ),
        ),
        migrations.AlterModelOptions(
            "rotationcolumn",
            {
                "verbose_name": "column of a rotation",
                "verbose_name_plural": "columns of rotations",
                "default_permissions": (),
            },
        ),
        migrations.AlterField(
            model_name="rotationcolumn",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="columns",
                to="envelope_fields.rotationrun",
            ),
        ),
        migrations.AlterField(
            model_name="rotationrun",
            name="pass_number",
            field=models.PositiveIntegerField(default=1, verbose_name="pass"),
        ),
        migrations.AlterField(
            model_name="rotationrun",
            name="heartbeat_at",
            field=models.DateTimeField(null=True, verbose_name="heartbeat at"),
        ),
        migrations.AlterField(
            model_name="rotationrange",
            name="pass_number",
            field=models.PositiveIntegerField(verbose_name="pass"),
        ),
    ]
