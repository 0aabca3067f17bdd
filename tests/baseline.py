"""What the test databases hold when they are new, and how a test that commits goes back to it.

Django's flush empties every table, one statement a table, and has each app fill its own again. Here
rows are deleted where there are any, and those that were there from the beginning are put back.
"""

from contextlib import contextmanager

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, transaction
from django.test import TransactionTestCase

_flush = TransactionTestCase._fixture_teardown


class Baseline:
    """The rows of one database when it was new.

    Args:
        alias: of the database.
    """

    def __init__(self, alias):
        self.alias = alias
        self.tables = self._tables()
        with self.connection.cursor() as cursor:
            self.rows = {table: self._rows_of(cursor, table) for table in self._filled(cursor)}

    @property
    def connection(self):
        return connections[self.alias]  # another one beside the event loop of a browser

    def restore(self):
        """Delete what came later, and put back what has changed."""
        with _without_foreign_keys(self.connection), self.connection.cursor() as cursor:
            for table in self._filled(cursor) | self.rows.keys():
                if table not in self.rows:
                    self._delete(cursor, table)
                elif self._rows_of(cursor, table) != self.rows[table]:
                    self._delete(cursor, table)
                    self._insert(cursor, table, self.rows[table])
                    self._go_on_behind(cursor, table)

    def _tables(self):
        """Return the tables of all installed models that are there."""
        there = set(self.connection.introspection.table_names())
        models = apps.get_models(include_auto_created=True)
        return sorted({model._meta.db_table for model in models} & there)

    def _filled(self, cursor):
        """Return the tables that have rows."""
        quote = self.connection.ops.quote_name
        number = "SELECT {} WHERE EXISTS (SELECT 1 FROM {})"
        asked = [number.format(n, quote(table)) for n, table in enumerate(self.tables)]
        found = set()
        for first in range(0, len(asked), 100):  # SQLite takes 500 at most
            cursor.execute(" UNION ALL ".join(asked[first : first + 100]).replace("%", "%%"), ())
            found |= {self.tables[n] for (n,) in cursor.fetchall()}
        return found

    def _rows_of(self, cursor, table):
        cursor.execute(f"SELECT * FROM {self._quoted(table)} ORDER BY 1", ())
        return cursor.fetchall()

    def _delete(self, cursor, table):
        cursor.execute(f"DELETE FROM {self._quoted(table)}", ())

    def _insert(self, cursor, table, rows):
        places = ", ".join(["%s"] * len(rows[0]))
        cursor.executemany(f"INSERT INTO {self._quoted(table)} VALUES ({places})", rows)

    def _go_on_behind(self, cursor, table):
        """Have the next row numbered after those that were put back, also where one is reset."""
        models = [model for model in apps.get_models() if model._meta.db_table == table]
        for sql in self.connection.ops.sequence_reset_sql(no_style(), models[:1]):
            cursor.execute(sql)

    def _quoted(self, table):
        return self.connection.ops.quote_name(table).replace("%", "%%")


@contextmanager
def _without_foreign_keys(connection):
    """Let tables be emptied in any order, past the triggers of the audit trail."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        elif connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
        else:
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
        try:
            yield
        finally:
            if connection.vendor == "mysql":
                cursor.execute("SET FOREIGN_KEY_CHECKS = 1")


def take(aliases, patch):
    """Note what the test databases hold, and have tests that commit go back to it.

    Args:
        aliases: of the databases that were made.
        patch: a `pytest.MonkeyPatch` for as long as they are there.
    """
    baselines = {alias: Baseline(alias) for alias in aliases}

    def restore(test_case):
        if test_case.available_apps is not None or test_case.serialized_rollback:
            return _flush(test_case)
        for alias in test_case._databases_names(include_mirrors=False):
            if alias in baselines:  # others are those of a test that makes some
                baselines[alias].restore()
        return _forget()

    patch.setattr(TransactionTestCase, "_fixture_teardown", restore)


def _forget():
    """Forget what this process knew of rows that may be gone."""
    from django.contrib.contenttypes.models import ContentType

    from envelope_fields import keyring

    keyring.evict()
    ContentType.objects.clear_cache()
