"""Values that a migration asks for and no row will hold.

`AddField` computes a default for existing rows, also where there is no row yet, and possibly
before our own tables exist; `update()` of a model of a migration does the same. Such a value needs
no key: it is NULL, and the statement that it is for may meet no row.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import strip_quotes
from django.db.models import BinaryField, DateTimeField, Model
from django.utils.timezone import is_naive, make_aware

from envelope_fields.databases import database_of
from envelope_fields.databases.tables import has_rows
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import MasterKey

_WRITING = re.compile(r"\s*(ALTER TABLE|INSERT|UPDATE)\b", re.IGNORECASE)
# What the keyring writes between two questions of the schema editor.
_OF_KEYS = re.compile(rf"(INSERT|UPDATE)\b[A-Z ]*[\"`]{MasterKey._meta.app_label}_")


class RowArrived(EnvelopeError):
    """A row came into a table while a migration took it for empty."""


def is_historical(model: type[Model]) -> bool:
    """Whether a model belongs to the state of a migration rather than to an application."""
    return model.__module__ == "__fake__"


def suffices(field: Any, connection: BaseDatabaseWrapper) -> bool:
    """Whether a value without an instance is for a table of a migration that has no rows."""
    return is_historical(field.model) and not has_rows(field.model, connection.alias)


def for_no_row(field: Any, connection: BaseDatabaseWrapper) -> None:
    """Return NULL, and have the statement that it is for raise `RowArrived` if it meets a row."""
    # Django takes the last one away at the end of a block, whichever that is.
    connection.execute_wrappers.insert(0, _Watch(field, connection))


def meant(field: Any, value: Any) -> Any:
    """Return what is meant by the default that the schema editor has for a binary column.

    It has no bytes where a text may be blank, and a time without a zone for `auto_now`. It asks
    the fields of migrations; from anywhere else, both are a mistake.
    """
    if not is_historical(field.model):
        return value
    if type(value) is bytes and not value and not isinstance(field, BinaryField):
        return ""
    is_made_now = isinstance(field, DateTimeField) and (field.auto_now or field.auto_now_add)
    if settings.USE_TZ and is_made_now and type(value) is datetime and is_naive(value):
        return make_aware(value)
    return value


def advice(model: type[Model]) -> str:
    """Return what to do in a migration whose values need a key that is not there yet."""
    if not is_historical(model):
        return ""
    return (
        ' A migration that writes encrypted values has ("envelope_fields", '
        '"0002_default_master_key") in its dependencies.'
    )


class _Watch:
    """Sees the statements of a connection up to the next one that writes."""

    # The schema editor asks for a default more often than it executes something, and Django has
    # no hook that knows both the field and the statement.

    def __init__(self, field: Any, connection: Any) -> None:
        self.field, self.connection = field, connection
        quote, table = connection.ops.quote_name, field.model._meta.db_table
        self.table, self.column = quote(table), quote(field.column)
        # SQLite has no statement that alters a column: Django copies the rows into another table.
        self.new_table = quote(f"new__{strip_quotes(table)}")
        # No row is inserted with the value, neither by Django nor by a statement of the project's.
        self.meant = ("ALTER TABLE ", "UPDATE ", f"INSERT INTO {self.new_table} ")

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        run = partial(execute, sql, params, many, context)
        if not isinstance(sql, str) or not _WRITING.match(sql) or _OF_KEYS.match(sql):
            return run()
        self.connection.execute_wrappers.remove(self)
        if self.table not in sql or self.column not in sql or not sql.startswith(self.meant):
            return run()
        if not sql.startswith("ALTER"):
            return self._rolled_back(run, lambda: context["cursor"].rowcount > 0)
        if self.connection.features.can_rollback_ddl:
            return self._rolled_back(run, self._has_rows)
        return self._locked(run)

    def _rolled_back(self, run: Any, has_met_a_row: Callable[[], bool]) -> Any:
        """Run a statement, and undo it if it met a row."""
        try:
            with transaction.atomic(using=self.connection.alias):
                result = run()
                if has_met_a_row():
                    raise IntegrityError("NULL in a column that may be NULL")
                return result
        except IntegrityError as error:
            self._drop_new_table()
            raise self._row_arrived() from error

    def _drop_new_table(self) -> None:
        """Drop what SQLite was copying into: it is committed where a migration is not atomic."""
        ask = database_of(self.connection)
        if ask.ALTERS_BY_COPYING:
            ask.execute(f"DROP TABLE IF EXISTS {self.new_table}")

    def _locked(self, run: Any) -> Any:
        """Run what cannot be undone while no other connection writes.

        MariaDB fills a column that is NOT NULL with no bytes, in silence.
        """
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(f"LOCK TABLES {self.table} WRITE")
            except DatabaseError as error:
                raise EnvelopeError(
                    f"{self.field}: its table cannot be locked while the column is added "
                    f"({error}). The database user needs the right LOCK TABLES."
                ) from error
            try:
                if self._has_rows():
                    raise self._row_arrived()
                return run()
            finally:
                cursor.execute("UNLOCK TABLES")

    def _has_rows(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {self.table} LIMIT 1")  # noqa: S608 - quoted
            return cursor.fetchone() is not None

    def _row_arrived(self) -> RowArrived:
        return RowArrived(
            f"{self.field}: a row came into its table while the migration took it for empty, and "
            "would be left without its value. It is as it was; run the migration again."
        )
