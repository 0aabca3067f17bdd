"""In which schema the values are that a rotation moves."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0008_second_witness")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="rotationplace",
            name="schema",
            field=models.CharField(blank=True, default="", max_length=63, verbose_name="schema"),
        ),
    ]
