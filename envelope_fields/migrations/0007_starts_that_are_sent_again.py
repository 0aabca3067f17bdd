"""What a start that is sent again is known by."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0006_use_over_http")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="rotationrun",
            name="start_token",
            field=models.CharField(editable=False, max_length=64, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="rotationrun",
            name="start_digest",
            field=models.CharField(blank=True, editable=False, max_length=64),
        ),
    ]
