from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("envelope_fields", "0005_column_conversions"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="columnconversion",
            name="envelope_column_conversion",
        ),
        migrations.RemoveField(
            model_name="columnconversion",
            name="database",
        ),
        migrations.RemoveField(
            model_name="columnconversion",
            name="schema",
        ),
        migrations.AddConstraint(
            model_name="columnconversion",
            constraint=models.UniqueConstraint(
                fields=("model", "field"), name="envelope_column_conversion"
            ),
        ),
        migrations.CreateModel(
            name="StateChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("changed_at", models.DateTimeField(db_index=True, verbose_name="changed at")),
                ("committed_at", models.DateTimeField(null=True, verbose_name="committed at")),
            ],
            options={
                "verbose_name": "change of a state",
                "verbose_name_plural": "changes of states",
                "default_permissions": (),
            },
        ),
    ]
