"""MariaDB's scratch database with our tables, which are kept from test to test, as they were.

To make these tables and to drop them takes MariaDB most of the time of such a test. Where a test
has altered one, or dropped it, all are made anew.
"""

import re
from contextlib import contextmanager

NUMBER = re.compile(r" AUTO_INCREMENT=(\d+)")
TRIGGERS = """
SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_statement
FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1
"""


class KeptTables:
    """Those of a copy of a database.

    Args:
        like: a connection to the database that is copied.
    """

    def __init__(self, like):
        self.original = like
        self.name = self.original.creation.get_test_db_clone_settings("kept")["NAME"]
        self._copy()
        with self._cursor() as cursor:
            self.tables, self.triggers = _tables(cursor), _triggers(cursor)
            self.rows = {table: _rows(cursor, table) for table in self.tables}

    def restore(self):
        """Have the same in it as at first, and nothing else."""
        with self._cursor() as cursor:
            found = _tables(cursor)
            is_altered = self.triggers != _triggers(cursor) or any(
                _without_number(found.get(table, "")) != _without_number(made)
                for table, made in self.tables.items()
            )
            if not is_altered:
                self._restore(cursor, found)
        if is_altered:
            self._copy()

    def drop(self):
        self.original.creation._destroy_test_db(self.name, verbosity=0)

    def _copy(self):
        self.original.close()
        self.original.creation.clone_test_db(suffix="kept", verbosity=0)

    @contextmanager
    def _cursor(self):
        connection = self.original.copy()
        connection.settings_dict = {**connection.settings_dict, "NAME": self.name}
        with connection.cursor() as cursor:
            # Past the triggers of the audit trail, too; and no test has left a transaction open.
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0, lock_wait_timeout = 30")
            yield cursor
        connection.close()

    def _restore(self, cursor, found):
        for table in found.keys() - self.tables.keys():
            kind = "VIEW" if found[table].startswith("CREATE ALGORITHM") else "TABLE"
            cursor.execute(f"DROP {kind} `{table}`")
        for table, rows in self.rows.items():
            if _rows(cursor, table) != rows:
                cursor.execute(f"DELETE FROM `{table}`")
                if rows:
                    places = ", ".join(["%s"] * len(rows[0]))
                    cursor.executemany(f"INSERT INTO `{table}` VALUES ({places})", rows)
            number = _number(self.tables[table])
            if _number(found[table]) != number:
                cursor.execute(f"ALTER TABLE `{table}` AUTO_INCREMENT = {number}")


def _tables(cursor):
    """Return the statements that make the tables and views, by their names."""
    cursor.execute("SHOW TABLES")
    made = {}
    for (name,) in cursor.fetchall():
        cursor.execute(f"SHOW CREATE TABLE `{name}`")
        made[name] = cursor.fetchone()[1]
    return made


def _triggers(cursor):
    cursor.execute(TRIGGERS)
    return cursor.fetchall()


def _rows(cursor, table):
    cursor.execute(f"SELECT * FROM `{table}` ORDER BY 1")
    return cursor.fetchall()


def _number(made):
    """Return the number of the next row."""
    found = NUMBER.search(made)
    return int(found[1]) if found else 1


def _without_number(made):
    return NUMBER.sub("", made)
