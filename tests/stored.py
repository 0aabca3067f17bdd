"""Looks past the field, at the bytes in the column."""

from django.db import connections

from envelope_fields.crypto import format as layout


def _where(instance, field, connection):
    """Return the condition for the row of an object in the table of a field, and its parameters."""
    keys = field.model._meta.pk_fields
    where = " AND ".join(f"{_quoted(key.column, connection)} = %s" for key in keys)
    return where, [
        key.get_db_prep_value(getattr(instance, key.attname), connection) for key in keys
    ]


def _quoted(identifier, connection):
    return connection.ops.quote_name(identifier).replace("%", "%%")


def stored(instance, name, using=None):
    """Return what is in the column of a field, bytes as bytes, or None."""
    field = instance._meta.get_field(name)
    connection = connections[using or instance._state.db or "default"]
    where, params = _where(instance, field, connection)
    column = _quoted(field.column, connection)
    table = _quoted(field.model._meta.db_table, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} WHERE {where}", params)
        value = cursor.fetchone()[0]
    return bytes(value) if isinstance(value, memoryview) else value


def version_of(envelope):
    """Return the key version id that an envelope names."""
    return layout.parse(envelope).version_id


def store(instance, name, value):
    """Put bytes, or anything, into the column behind the field's back."""
    field = instance._meta.get_field(name)
    connection = connections[instance._state.db or "default"]
    where, params = _where(instance, field, connection)
    marker = "_binary %s" if connection.vendor == "mysql" and isinstance(value, bytes) else "%s"
    column = _quoted(field.column, connection)
    table = _quoted(field.model._meta.db_table, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = {marker} WHERE {where}", [value, *params])
