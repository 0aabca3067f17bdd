from django.db import connection, models

from envelope_fields.fields import EncryptedTextField


def key_of_tenant(note):
    """Name the key as people do with django-tenants: by the schema that the connection is in."""
    return f"tenant/{connection.schema_name}"


class Note(models.Model):
    title = models.CharField(max_length=50, blank=True)
    text = EncryptedTextField()
    added = EncryptedTextField(default="added")
    own = EncryptedTextField(null=True, key=key_of_tenant)
