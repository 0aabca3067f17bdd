"""Test databases of a run with several workers: migrated once, and copied for each.

The worker that comes first migrates; the others wait for its lock. All copy what it made: Django
copies a file on SQLite, a template on PostgreSQL, and a dump on MariaDB.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connections
from django.test.utils import setup_databases


def can_be_made():
    """Whether this machine has the programs that copy a database."""
    engine = settings.DATABASES["default"]["ENGINE"]
    return not engine.endswith("mysql") or shutil.which("mysqldump") is not None


def make(worker):
    """Copy the databases of the run, and have this process use the copies.

    Args:
        worker: the name of this one, such as `gw0`.
    """
    names = {each.alias: each.creation._get_test_db_name() for each in connections.all()}
    with _originals() as there:
        if not there.read_text():
            setup_databases(verbosity=0, interactive=False)
            connections.close_all()  # PostgreSQL copies no database that is in use
            there.write_text("migrated")
    for connection in connections.all():  # beside other workers that copy
        _copy(connection, names[connection.alias], worker)


def _copy(connection, name, worker):
    creation = connection.creation
    connection.settings_dict["NAME"] = name
    connection.close()
    creation.clone_test_db(suffix=worker, verbosity=0)
    connection.settings_dict.update(creation.get_test_db_clone_settings(worker))


def drop():
    """Drop the copies that this process uses."""
    for connection in connections.all():
        _drop(connection, connection.settings_dict["NAME"])


def drop_originals():
    """Drop what the copies were made of, when all workers have ended."""
    with _originals() as there:
        if there.read_text():
            for connection in connections.all():
                _drop(connection, connection.creation._get_test_db_name())
        there.unlink()


def _drop(connection, name):
    connection.close()
    connection.creation._destroy_test_db(name, verbosity=0)


@contextmanager
def _originals():
    """Have one process at a time look whether the databases are there, and make or copy them."""
    path = Path(tempfile.gettempdir(), f"envelope-fields-{os.environ['ENVELOPE_TEST_RUN']}.state")
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
