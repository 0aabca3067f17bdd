from django.db import migrations

import envelope_fields.fields


class Migration(migrations.Migration):
    dependencies = [("clinic", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="note",
            name="added",
            field=envelope_fields.fields.EncryptedTextField(default="added"),
        ),
    ]
