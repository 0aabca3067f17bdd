"""What tests of rotations look at."""

from django.db import connections

from envelope_fields import rotation


def left(alias):
    """Count the values under versions of a key that are not current."""
    return sum(row.values for row in rotation.census(alias) if not row.version.is_current)


def numbers_of(run):
    """Return how many values a run had to look at, moved, and could not move."""
    told = rotation.progress(run)
    return told.total, told.moved, told.failed


def put(row, name, value):
    """Store bytes as they are, past the field."""
    field = row._meta.get_field(name)
    connection = connections[row._state.db]
    quote = connection.ops.quote_name
    keys = field.model._meta.pk_fields
    where = " AND ".join(f"{quote(key.column)} = %s" for key in keys)
    values = [key.get_db_prep_value(getattr(row, key.attname), connection) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(field.model._meta.db_table)} SET {quote(field.column)} = %s "
            f"WHERE {where}",
            [value, *values],
        )
