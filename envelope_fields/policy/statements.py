"""Statements that change users, groups or memberships, seen where they are sent.

No signal tells of `User.groups.through.objects.filter(…).delete()`, of `QuerySet.update()`, or of
SQL that the project writes itself. So each statement of this process is looked at on its way: what
is known of people is forgotten when one has written to their tables. Reading, which is nearly all
that there is, costs a look at the first letters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models import Model

from envelope_fields.models import key_changes
from envelope_fields.policy.people import group_model, is_column

_UID = "envelope_fields.policy.statements"
_DECIDING = ("is_active", "is_superuser")
# Those that write nothing, and those that say where a transaction begins and ends.
_HARMLESS = ("SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "SET ", "SHOW")
# What makes an INSERT change rows that are there.
_UPSERTS = (" on conflict", " on duplicate key")

Execute = Callable[..., Any]


class _Tables(NamedTuple):
    """The tables of people, lower-cased.

    Attributes:
        members: of groups and of who is in them; whatever is written there is news.
        users: theirs; several where they inherit columns.
        columns: of `users`, those that decide; empty if a user says otherwise who is active, so
            that any column may.
    """

    members: tuple[str, ...]
    users: tuple[str, ...]
    columns: tuple[str, ...]

    def are_written_by(self, statement: str) -> bool:
        """Whether a statement may change what the policy knows of people."""
        if any(table in statement for table in self.members):
            return True
        if not any(table in statement for table in self.users):
            return False
        if statement.startswith("insert") and not any(each in statement for each in _UPSERTS):
            return False  # a new user is told of by a signal, and nobody has relied on them yet
        decides = not self.columns or any(column in statement for column in self.columns)
        return decides or not statement.startswith("update")


def connect() -> None:
    """Look at what every connection sends, whatever opens it."""
    watcher = _Watcher(_tables())
    connection_created.connect(watcher.watch, weak=False, dispatch_uid=_UID)
    for connection in connections.all(initialized_only=True):
        watcher.watch(connection=connection)


class _Watcher:
    """Looks at statements on their way to a database."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def watch(self, *, connection: Any, **_: Any) -> None:
        if self.look not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, self.look)

    def look(
        self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Have a statement executed, and say so if it has changed people."""
        # Behind a semicolon there may be another statement.
        if isinstance(sql, str) and sql.startswith(_HARMLESS) and ";" not in sql:
            return execute(sql, params, many, context)
        result = execute(sql, params, many, context)
        if self._tables.are_written_by(str(sql).lstrip().lower()):
            key_changes.announce_people(context["connection"].alias)
        return result


def _tables() -> _Tables:
    model: Any = get_user_model()
    columns = tuple(name for name in _DECIDING if is_column(model, name))
    groups = group_model()
    membership = model._meta.get_field("groups").remote_field.through if groups else None
    return _Tables(
        _named(membership) + _named(groups),
        _named(model),
        columns if "is_active" in columns else (),
    )


def _named(model: type[Model] | None) -> tuple[str, ...]:
    """Return the names of the tables that a model's rows are in, without marks of quotation."""
    if model is None:
        return ()
    models = (model, *model._meta.get_parent_list())
    return tuple(each._meta.db_table.strip('"`').lower() for each in models)
