from django.db import migrations, models

import envelope_fields.fields
from tests.neighbours.schemas.clinic.models import key_of_tenant


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(blank=True, max_length=50)),
                ("text", envelope_fields.fields.EncryptedTextField()),
                ("own", envelope_fields.fields.EncryptedTextField(key=key_of_tenant, null=True)),
            ],
        ),
    ]
