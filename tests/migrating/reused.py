"""PostgreSQL's scratch database, which is made once, and emptied and filled for each test.

To copy a database and to drop it takes PostgreSQL most of the time of such a test.
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


class ReusedDatabase:
    """Beside those of the settings, and under no alias by itself."""

    def __init__(self):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self.name = f"{settings.PREFIX}_reused{worker}"
        self._administer("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}")

    def fill(self, script):
        """Have in it what a script makes, and nothing else.

        Args:
            script: what `dumped` returned, or nothing.
        """
        connection = connections["default"].copy()
        connection.settings_dict = {**connection.settings_dict, "NAME": self.name}
        with connection.cursor() as cursor:
            cursor.execute(SCHEMAS)
            schemas = ", ".join(name for (name,) in cursor.fetchall())
            cursor.execute(f"DROP SCHEMA {schemas} CASCADE; {PUBLIC} {script}")
        connection.close()

    def drop(self):
        self._administer("DROP DATABASE {}")

    def _administer(self, *statements):
        name = connections["default"].ops.quote_name(self.name)
        with connections["default"]._nodb_cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(name))


def dumped(alias):
    """Return the statements that make a database as it is; by pg_dump, which comes with psql."""
    where = connections[alias].settings_dict
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
