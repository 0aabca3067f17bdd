from django.db import migrations, models

import envelope_fields.fields


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="Patient",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("notes", envelope_fields.fields.EncryptedTextField()),
                (
                    "pinned",
                    envelope_fields.fields.EncryptedTextField(context="tests.patient.pinned"),
                ),
                ("plain", models.TextField()),
            ],
        ),
    ]
