"""PostgreSQL's scratch databases, which are made once: one is emptied for each test, in the other
our tables are kept, as they were.

To copy a database and to drop it takes PostgreSQL most of the time of such a test, and to make our
tables much of the rest. Where a test has altered one of these, all are made anew.
"""

import os
import shutil
import subprocess

from django.conf import settings
from django.db import connections

# Of PostgreSQL itself, whose own are left as they are.
SCHEMAS = """
SELECT quote_ident(nspname) FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
# As in a database that is new.
PUBLIC = (
    "CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC;"
)


def can_be():
    return connections["default"].vendor == "postgresql" and shutil.which("pg_dump") is not None


# What a test may have altered, but for rows: what it is, of which table, and how it is.
SHAPE = """
SELECT 'table', oid::bigint, concat_ws(' ', relname, relkind, relowner, relrowsecurity,
    relforcerowsecurity, relacl, reloptions)
FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', attrelid::bigint, concat_ws(' ', attnum, attname, atttypid, atttypmod, attnotnull,
    attidentity, attgenerated, attcollation, attacl)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'default', adrelid::bigint, concat_ws(' ', adnum, pg_get_expr(adbin, adrelid))
FROM pg_attrdef
UNION ALL
SELECT 'constraint', conrelid::bigint, concat_ws(' ', oid, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::bigint, concat_ws(' ', oid, tgname, tgenabled) FROM pg_trigger
UNION ALL
SELECT 'policy', polrelid::bigint, concat_ws(' ', oid, polname) FROM pg_policy
UNION ALL
SELECT 'rule', ev_class::bigint, concat_ws(' ', pg_rewrite.oid, rulename, ev_enabled)
FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'function', oid::bigint, concat_ws(' ', proname, prosrc, proconfig, proacl)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'type', oid::bigint, typname FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e', 'r')
UNION ALL
SELECT 'schema', oid::bigint, concat_ws(' ', nspname, nspowner, nspacl) FROM pg_namespace
WHERE nspname !~ '^pg_'
UNION ALL
SELECT 'extension', oid::bigint, extname FROM pg_extension
"""
MADE = """
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT oid = ANY(%s)
"""
NUMBERS = """
SELECT quote_ident(sequencename), last_value FROM pg_sequences WHERE schemaname = 'public'
"""


class ReusedDatabase:
    """Beside those of the settings, and under no alias by itself.

    Args:
        kind: names it.
        script: what makes the tables that are kept in it; empty where there are none.
    """

    def __init__(self, kind, script=""):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self.name = f"{settings.PREFIX}_{kind}{worker}"
        self._script = script
        self._shape = set()
        self._administer("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}")

    def restore(self):
        """Have in it what the script makes, and nothing else."""
        connection = connections["default"].copy()
        connection.settings_dict = {**connection.settings_dict, "NAME": self.name}
        with connection.cursor() as cursor:
            if not self._shape or not self._is_unaltered(cursor):
                self._make(cursor)
            else:
                self._restore_rows(cursor)
        connection.close()

    def _make(self, cursor):
        cursor.execute(SCHEMAS)
        schemas = ", ".join(name for (name,) in cursor.fetchall())
        cursor.execute(f"DROP SCHEMA {schemas} CASCADE; {PUBLIC} {self._script}")
        cursor.execute("SET search_path TO DEFAULT")  # pg_dump's has no schema
        if self._script:
            self._shape = _fetched(cursor, SHAPE)
            self._rows = {table: _rows(cursor, table) for table in _tables(cursor, [])}
            self._numbers = _fetched(cursor, NUMBERS)

    def _is_unaltered(self, cursor):
        """Drop what was made beside our tables, and return whether they are as they were."""
        kept = [number for kind, number, _ in self._shape if kind == "table"]
        made = _tables(cursor, kept)
        if made:
            cursor.execute(f"DROP TABLE {', '.join(made)} CASCADE")
        return _fetched(cursor, SHAPE) == self._shape

    def _restore_rows(self, cursor):
        # Past the triggers of the audit trail, and in any order.
        cursor.execute("SET session_replication_role = replica")
        for table, rows in self._rows.items():
            if _rows(cursor, table) != rows:
                cursor.execute(f"DELETE FROM {table}")
                if rows:
                    places = ", ".join(["%s"] * len(rows[0]))
                    cursor.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        for sequence, _ in _fetched(cursor, NUMBERS) - self._numbers:
            last = dict(self._numbers)[sequence]
            cursor.execute(f"ALTER SEQUENCE {sequence} RESTART")
            if last is not None:
                cursor.execute("SELECT setval(%s, %s)", [sequence, last])

    def drop(self):
        self._administer("DROP DATABASE {}")

    def _administer(self, *statements):
        name = connections["default"].ops.quote_name(self.name)
        with connections["default"]._nodb_cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(name))


def _fetched(cursor, sql):
    cursor.execute(sql)
    return set(cursor.fetchall())


def _tables(cursor, without):
    cursor.execute(MADE, [without])
    return [name for (name,) in cursor.fetchall()]


def _rows(cursor, table):
    cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
    return cursor.fetchall()


def dumped(connection):
    """Return the statements that make a database as it is; by pg_dump, which comes with psql."""
    where = connection.settings_dict
    result = subprocess.run(
        [
            *("pg_dump", "--inserts", "--no-comments"),
            *("-h", where["HOST"], "-p", str(where["PORT"]), "-U", where["USER"], where["NAME"]),
        ],
        env={**os.environ, "PGPASSWORD": where["PASSWORD"]},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith("\\"))  # what is for psql alone
