from typing import Any

from django.db import migrations

from envelope_fields.lifecycle.on_demand import create_default_key


def create(apps: Any, schema_editor: Any) -> None:
    create_default_key(apps, schema_editor.connection.alias)


class Migration(migrations.Migration):
    """Data migrations that write encrypted values depend on this one."""

    dependencies = [("envelope_fields", "0001_initial")]

    operations = [migrations.RunPython(create, migrations.RunPython.noop, elidable=False)]
