"""Looks past the field, at the bytes in the column."""

from django.db import connections

from envelope_fields.crypto import format as layout


def stored(instance, name, using=None):
    """Return what is in the column of a field, bytes as bytes, or None."""
    field = instance._meta.get_field(name)
    connection = connections[using or instance._state.db or "default"]

    def quote(identifier):
        return connection.ops.quote_name(identifier).replace("%", "%%")

    keys = field.model._meta.pk_fields
    where = " AND ".join(f"{quote(key.column)} = %s" for key in keys)
    values = [key.get_db_prep_value(getattr(instance, key.attname), connection) for key in keys]
    table = quote(field.model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {quote(field.column)} FROM {table} WHERE {where}", values)
        value = cursor.fetchone()[0]
    return bytes(value) if isinstance(value, memoryview) else value


def version_of(envelope):
    """Return the key version id that an envelope names."""
    return layout.parse(envelope).version_id


def store(instance, name, value):
    """Put bytes, or anything, into the column behind the field's back."""
    field = instance._meta.get_field(name)
    connection = connections[instance._state.db or "default"]
    quote = connection.ops.quote_name
    marker = "_binary %s" if connection.vendor == "mysql" and isinstance(value, bytes) else "%s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(instance._meta.db_table)} SET {quote(field.column)} = {marker} "
            f"WHERE {quote(instance._meta.pk.column)} = %s",
            [value, instance.pk],
        )
