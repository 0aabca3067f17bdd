"""A project of its own for one test: apps made of migrations alone, in databases of their own."""

import importlib
import os
import sys
from contextlib import ExitStack, contextmanager

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.writer import MigrationWriter

from envelope_fields import keyring
from tests import garbage

DEFAULT_KEY = ("envelope_fields", "0002_default_master_key")

APP = """
from django.apps import AppConfig

class Config(AppConfig):
    name = {package!r}
    label = {label!r}
    default_auto_field = "django.db.models.BigAutoField"
"""


class Project:
    """Its migrations are written to files, as `makemigrations` does, and run by `migrate`."""

    def __init__(self, directory, alias):
        self.directory = directory
        self.alias = alias
        self.packages = {}
        self._installed = ExitStack()

    @property
    def connection(self):
        return connections[self.alias]

    def install(self, *labels):
        """Add apps without migrations."""
        for label in labels:
            package = f"{label}_of_{self.directory.name}"
            (self.directory / package / "migrations").mkdir(parents=True)
            (self.directory / package / "__init__.py").touch()
            (self.directory / package / "migrations" / "__init__.py").touch()
            (self.directory / package / "apps.py").write_text(
                APP.format(package=package, label=label)
            )
            self.packages[label] = package
        importlib.invalidate_caches()
        self.close()
        configs = [f"{package}.apps.Config" for package in self.packages.values()]
        apps.set_installed_apps([*configs, "envelope_fields"])
        self._installed.callback(apps.unset_installed_apps)

    def add(self, label, *operations, name=None, after=(), **attributes):
        """Write the next migration of an app, and return its name."""
        if label not in self.packages:
            self.install(label)
        there = sorted(path.stem for path in self._migrations(label).glob("[0-9]*.py"))
        migration = Migration(name or f"{len(there) + 1:04}", label)
        migration.operations = list(operations)
        migration.dependencies = [*after, *((label, name) for name in there[-1:])]
        source = MigrationWriter(migration, include_header=False).as_string()
        for attribute, value in attributes.items():
            source += f"\n    {attribute} = {value!r}\n"
        self.write(label, migration.name, source)
        return migration.name

    def write(self, label, name, source):
        """Write a migration that is given as text."""
        (self._migrations(label) / f"{name}.py").write_text(source)
        importlib.invalidate_caches()

    def _migrations(self, label):
        return self.directory / self.packages[label] / "migrations"

    def migrate(self, *target, **options):
        call_command(
            "migrate", *target, database=self.alias, verbosity=0, interactive=False, **options
        )

    def model(self, label, name):
        """Return a model as the applied migrations have it."""
        state = MigrationExecutor(self.connection)._create_project_state(
            with_applied_migrations=True
        )
        if label in self.packages:  # whose models refer to none of ours
            for ours in [key for key in state.models if key[0] == "envelope_fields"]:
                del state.models[ours]
        return state.apps.get_model(label, name)

    def rows(self, label, name):
        return self.model(label, name)._default_manager.using(self.alias).order_by("pk")

    def column(self, label, name, field):
        """Return what is stored in a column, row by row."""
        model = self.model(label, name)
        quote = self.connection.ops.quote_name
        column = quote(model._meta.get_field(field).column)
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {column} FROM {quote(model._meta.db_table)} ORDER BY 1")
            stored = [row[0] for row in cursor]
        return [bytes(value) if isinstance(value, memoryview) else value for value in stored]

    def execute(self, *statements):
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def close(self):
        self._installed.close()
        keyring.evict()


@contextmanager
def scratch_database(alias, directory, **options):
    """Have a database for a test, as `database_beside` does."""
    with database_beside(alias, directory, **options), garbage.collected():
        yield alias


@contextmanager
def database_beside(alias, directory, *, like=None, name=None):
    """Make a database beside those of the settings, under the name `alias`.

    Args:
        directory: for the file that it is on SQLite.
        like: a connection to another such database, which is copied; it is empty without.
        name: of one that is there, and is neither made nor dropped here.
    """
    settings_dict = connections["default"].settings_dict
    parameters = {**settings_dict, "TEST": {**settings_dict["TEST"], "NAME": None}}
    server = settings_dict["ENGINE"] != "django.db.backends.sqlite3"
    if name is not None:
        parameters["NAME"] = name
    elif like is not None:
        parameters |= _copy(like)
    elif server:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        parameters["NAME"] = f"{settings.PREFIX}_{alias}{worker}"
    else:
        parameters["NAME"] = str(directory / f"{alias}.sqlite3")
    connections.settings[alias] = parameters
    connection = connections[alias]
    quoted = connection.ops.quote_name(parameters["NAME"])

    def administer(*statements):
        if server and name is None:
            with connection._nodb_cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    if like is None:
        suffix = "CHARACTER SET utf8mb4" if connection.vendor == "mysql" else ""
        administer(f"DROP DATABASE IF EXISTS {quoted}", f"CREATE DATABASE {quoted} {suffix}")
    try:
        _know_the_server(connection)
        yield alias
    finally:
        connection.close()
        administer(f"DROP DATABASE {quoted}")
        del connections[alias]
        del connections.settings[alias]


def _know_the_server(connection):
    """Have Django know the server's version, for which it asks the default database of MariaDB.

    That is not there where no test that is run has asked for it.
    """
    if connection.vendor == "mysql":
        known = vars(connections["default"])
        known.setdefault("mysql_server_data", connection.mysql_server_data)


def _copy(connection):
    """Copy a database as Django does for tests, and return which one the copy is."""
    connection.close()  # PostgreSQL copies none that is in use
    connection.creation.clone_test_db(suffix="copy", verbosity=0)
    return connection.creation.get_test_db_clone_settings("copy")


@contextmanager
def importable(directory):
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
