"""Uses of keys have a channel: fields, kms or rotation."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("envelope_fields", "0011_wrapping_keys"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="keyuse",
            name="envelope_fields_key_use",
        ),
        migrations.RenameField(
            model_name="keyuse",
            old_name="door",
            new_name="channel",
        ),
        migrations.AlterField(
            model_name="keyuse",
            name="channel",
            field=models.CharField(max_length=16, verbose_name="channel"),
        ),
        migrations.AddConstraint(
            model_name="keyuse",
            constraint=models.UniqueConstraint(
                fields=("version", "day", "action", "channel"), name="envelope_fields_key_use"
            ),
        ),
    ]
