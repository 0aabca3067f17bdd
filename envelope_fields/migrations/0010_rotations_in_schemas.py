"""In which schema the values are that a rotation moves."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0009_who_made_a_key")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="rotationplace",
            name="schema",
            field=models.CharField(blank=True, default="", max_length=63, verbose_name="schema"),
        ),
    ]
