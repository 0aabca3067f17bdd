"""Users as the database has them now: whether they exist, are active, and in which groups.

Their rows may be in another database than keys, so what is known of them is asked of theirs; and
only columns that the policy needs, since the others may be encrypted. Signals notify of what is
saved and deleted, a wrapper of statements of the rest: what was decided about a user is forgotten
at once in this process. Other processes hear of neither: there it takes effect within
`KEY_CACHE_SECONDS`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, router
from django.db.backends.signals import connection_created
from django.db.models import Field, Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save

from envelope_fields.models import key_changes
from envelope_fields.policy.principals import APPLICATION, Principal, acting_as


class Person(NamedTuple):
    """What the policy knows of a user."""

    is_active: bool
    is_superuser: bool
    groups: tuple[str, ...]


ABSENT = Person(is_active=False, is_superuser=False, groups=())


def person(principal: Principal) -> Person:
    """Return the user that a principal is; `ABSENT` if there is none."""
    if not apps.is_installed("django.contrib.auth"):
        return ABSENT
    model = get_user_model()
    if principal.type != model._meta.label_lower:
        return ABSENT
    # From where they are written: a replica may not have heard yet that a user was deleted.
    users: QuerySet[Any] = QuerySet(model, using=router.db_for_write(model))
    try:
        return _read(model, users.filter(pk=principal.id))
    except (ValueError, ValidationError):  # not the text of a primary key
        return ABSENT


def uncommitted() -> bool:
    """Whether this thread has changed users in a transaction that may still be rolled back."""
    if not key_changes.any_users_uncommitted():
        return False
    return key_changes.users_uncommitted(router.db_for_write(get_user_model()))


def group_model() -> type[Model] | None:
    """Return the model of the groups that users are in, or None where they are in none."""
    if not apps.is_installed("django.contrib.auth"):
        return None
    try:
        related: Any = get_user_model()._meta.get_field("groups").related_model
    except FieldDoesNotExist:
        return None
    return related if isinstance(related, type) else None


def _read(model: type[Model], users: QuerySet[Any]) -> Person:
    columns = [name for name in ("is_active", "is_superuser") if is_column(model, name)]
    groups = ["groups"] if group_model() else []
    # Without the model's order: groups have one, too.
    rows = list(users.order_by().values_list(*(columns or ["pk"]), *groups))
    if not rows:
        return ABSENT
    known = dict(zip(columns, rows[0], strict=False))
    return Person(
        is_active=known["is_active"] if columns[:1] == ["is_active"] else _says_active(users),
        is_superuser=known.get("is_superuser", False),
        groups=tuple(str(row[-1]) for row in rows if row[-1] is not None) if groups else (),
    )


def is_column(model: type[Model], name: str) -> bool:
    """Whether a model keeps this in a column."""
    try:
        return isinstance(model._meta.get_field(name), Field)
    except FieldDoesNotExist:
        return False


def _says_active(users: QuerySet[Any]) -> bool:
    """Ask a user whose model has no column for it; AbstractBaseUser says yes."""
    with acting_as(APPLICATION):  # the user may have encrypted fields
        return all(getattr(user, "is_active", True) for user in users)


_UID = "envelope_fields.policy.users"
_DECIDING = ("is_active", "is_superuser")
# Those that write nothing, and those that say where a transaction begins and ends.
_HARMLESS = ("SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "SET ", "SHOW")
# What makes an INSERT change rows that are there.
_UPSERTS = (" on conflict", " on duplicate key")

Execute = Callable[..., Any]


class _Tables(NamedTuple):
    """The tables of users and groups, lower-cased."""

    members: tuple[str, ...]  # and groups: each statement that writes there counts
    users: tuple[str, ...]  # several where they inherit columns
    # Those of `users` that decide; empty where `is_active` is not a column, so that any column may.
    columns: tuple[str, ...]

    def are_written_by(self, statement: str) -> bool:
        """Whether a statement may change what the policy knows of users."""
        is_in = statement.__contains__
        if any(map(is_in, self.members)):
            return True
        if not any(map(is_in, self.users)):
            return False
        if statement.startswith("insert") and not any(map(is_in, _UPSERTS)):
            return False  # a signal notifies of a new user, and no decision has relied on them yet
        decides = not self.columns or any(map(is_in, self.columns))
        return decides or not statement.startswith("update")


def _watch_statements() -> None:
    """Look at what every connection sends, whatever opens it."""
    watcher = _Watcher(_tables())
    connection_created.disconnect(dispatch_uid=_UID)  # apps may be made ready several times
    connection_created.connect(watcher.watch, weak=False, dispatch_uid=_UID)
    for connection in connections.all(initialized_only=True):
        watcher.watch(connection=connection)


class _Watcher:
    """Looks at statements on their way to a database."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def watch(self, *, connection: Any, **_: Any) -> None:
        others = [each for each in connection.execute_wrappers if not _is_watching(each)]
        connection.execute_wrappers[:] = [self.look, *others]

    def look(
        self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Have a statement executed, and announce if it has changed users."""
        # Behind a semicolon there may be another statement.
        if isinstance(sql, str) and sql.startswith(_HARMLESS) and ";" not in sql:
            return execute(sql, params, many, context)
        result = execute(sql, params, many, context)
        if self._tables.are_written_by(str(sql).lstrip().lower()):
            key_changes.announce_users(context["connection"].alias)
        return result


def _is_watching(wrapper: Any) -> bool:
    """Whether a wrapper is that of a watcher, which may be one from before apps were changed."""
    return isinstance(getattr(wrapper, "__self__", None), _Watcher)


def _tables() -> _Tables:
    model: Any = get_user_model()
    columns = tuple(name for name in _DECIDING if is_column(model, name))
    groups = group_model()
    membership = model._meta.get_field("groups").remote_field.through if groups else None
    decide = columns if "is_active" in columns else ()
    return _Tables(_named(membership) + _named(groups), _named(model), decide)


def _named(model: type[Model] | None) -> tuple[str, ...]:
    """Return the names of the tables that a model's rows are in, without marks of quotation."""
    if model is None:
        return ()
    models = (model, *model._meta.get_parent_list())
    return tuple(each._meta.db_table.strip('"`').lower() for each in models)


def connect() -> None:
    """Listen, once the models are there."""
    if not apps.is_installed("django.contrib.auth"):
        return
    _watch_statements()
    for model in models_of(get_user_model()):
        post_save.connect(_saved, sender=model, dispatch_uid=_UID)
        post_delete.connect(_changed, sender=model, dispatch_uid=_UID)
    groups = group_model()
    if groups is not None:
        for model in models_of(groups):
            post_delete.connect(_changed, sender=model, dispatch_uid=_UID)
        membership: Any = get_user_model()._meta.get_field("groups")
        m2m_changed.connect(_changed, sender=membership.remote_field.through, dispatch_uid=_UID)


def models_of(model: type[Model]) -> list[type[Model]]:
    """Return the models that send signals for a row: itself, its proxies and children."""
    return [other for other in apps.get_models() if issubclass(other, model)]


def _saved(
    *, created: bool, update_fields: frozenset[str] | None = None, using: str, **_: Any
) -> None:
    if created:
        key_changes.announce_new_user()
    elif update_fields is None or not update_fields.isdisjoint(_DECIDING):  # a login is not
        key_changes.announce_users(using)


def _changed(*, using: str, **_: Any) -> None:
    key_changes.announce_users(using)
