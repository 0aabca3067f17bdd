"""Schemas and roles that last as long as the transaction of a test."""

import os
from contextlib import contextmanager

from django.db import connection

from tests.models import Note

PREFIX = os.environ.get("ENVELOPE_TEST_DB_PREFIX", "envelope_fields")
BOUND = f"{PREFIX}_{os.getpid()}_bound"  # roles are of the server, not of a database
TABLE = Note._meta.db_table


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def quoted(name):
    return '"{}"'.format(name.replace('"', '""'))


def make_schema(name, *, texts=(), table=TABLE):
    """Make a schema with a table of notes, and move notes there."""
    schema = quoted(name)
    execute(
        f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.{table} (LIKE {TABLE} INCLUDING ALL)"
    )
    for text in texts:
        move_to_schema(Note.objects.create(text=text, data=None), name, table)


def move_to_schema(note, name, table=TABLE):
    execute(
        f"INSERT INTO {quoted(name)}.{table} SELECT * FROM {TABLE} WHERE id = {note.pk}",
        f"DELETE FROM {TABLE} WHERE id = {note.pk}",
    )


@contextmanager
def as_bound_role(*more):
    """Become a role that row-level security binds, and that may do anything else in `public`."""
    execute(
        f'CREATE ROLE "{BOUND}"',
        f'GRANT USAGE, CREATE ON SCHEMA public TO "{BOUND}"',
        f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{BOUND}"',
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{BOUND}"',
        *more,
        f'SET LOCAL ROLE "{BOUND}"',
    )
    yield
    execute("RESET ROLE")


def hide_rows(table=TABLE):
    """Show rows of a table to the tenant that its title names, and to nobody else."""
    execute(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON {table} USING (title = current_setting('app.tenant', true))",
    )
