import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings

from envelope_fields import keyring
from tests.migrating import reused
from tests.migrating.kept import KeptTables
from tests.migrating.project import Project, database_beside, importable, scratch_database


@pytest.fixture(scope="session")
def migrated(tmp_path_factory, django_db_blocker):
    """A connection to a database with our tables and the default key alone.

    It is under no alias: other tests go over all of these, and this lasts as long as the session.
    """
    database = database_beside("migrated", tmp_path_factory.mktemp("migrated"))
    # Not unblocked between, either.
    with django_db_blocker.unblock():
        alias = database.__enter__()
        with keys_in(alias):
            call_command("migrate", "envelope_fields", database=alias, verbosity=0)
        original, parameters = connections[alias], connections.settings.pop(alias)
        original.close()
        del connections[alias]
    yield original
    keyring.evict()
    connections.settings[alias], connections[alias] = parameters, original
    with django_db_blocker.unblock():
        database.__exit__(None, None, None)


@pytest.fixture(scope="session")
def kept_database(migrated, django_db_blocker):
    """PostgreSQL's, with our tables and the default key."""
    with django_db_blocker.unblock():
        database = reused.ReusedDatabase("kept", reused.dumped(migrated))
    yield database
    with django_db_blocker.unblock():
        database.drop()


@pytest.fixture(scope="session")
def emptied_database(django_db_blocker):
    """PostgreSQL's, without any table."""
    with django_db_blocker.unblock():
        database = reused.ReusedDatabase("emptied")
    yield database
    with django_db_blocker.unblock():
        database.drop()


@pytest.fixture(scope="session")
def kept_tables(migrated, django_db_blocker):
    with django_db_blocker.unblock():
        tables = KeptTables(migrated)
    yield tables
    with django_db_blocker.unblock():
        tables.drop()


@pytest.fixture
def scratch(request, tmp_path, django_db_blocker):
    """The alias of an empty database, in which keys live too; with our tables for some tests."""
    has_tables = request.node.get_closest_marker("with_our_tables")
    if reused.can_be():
        again = request.getfixturevalue("kept_database" if has_tables else "emptied_database")
        with django_db_blocker.unblock():
            again.restore()
        database = scratch_database("scratch", tmp_path, name=again.name)
    elif has_tables and connection.vendor == "mysql":
        again = request.getfixturevalue("kept_tables")
        with django_db_blocker.unblock():
            again.restore()
        database = scratch_database("scratch", tmp_path, name=again.name)
    else:
        like = request.getfixturevalue("migrated") if has_tables else None
        database = scratch_database("scratch", tmp_path, like=like)
    with django_db_blocker.unblock(), database as alias, keys_in(alias):
        yield alias


@pytest.fixture
def project(tmp_path, scratch):
    with importable(tmp_path):
        project = Project(tmp_path, scratch)
        project.install()
        yield project
        project.close()


def keys_in(alias):
    keyring.evict()
    return override_settings(ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "DATABASE": alias})
