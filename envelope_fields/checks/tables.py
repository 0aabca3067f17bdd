"""Tables of keys and of values: what becomes of their rows, in a rollback, after a crash or cut."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import Model

from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.conf import configuration
from envelope_fields.databases.tables import column_types
from envelope_fields.databases.transactions import engine_of_new_tables, keeping, losing, mending
from envelope_fields.models import MasterKey

_NAMED = 5


def key_models() -> list[type[Model]]:
    """Return our models: none where a project's test has taken us out of INSTALLED_APPS."""
    label = MasterKey._meta.app_label
    return [model for model in apps.get_models() if model._meta.app_label == label]


def check_key_tables(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for tables of keys that keep what is rolled back, or that a crash empties."""
    try:
        using = configuration().database
    except ImproperlyConfigured:  # E001 says so
        return []
    if using not in (databases or ()):
        return []
    return [
        Error(problem, hint=mending(using), id="envelope_fields.E061")
        for problem in _problems_of_keys(using)
    ]


def _problems_of_keys(using: str) -> Iterator[str]:
    tables = _key_tables()
    if kept := keeping(tables, using):
        yield (
            f"Tables of keys in the database {using!r} have no transactions: {_listed(kept)}. What "
            "is done to a key and its audit event could be kept one without the other."
        )
    elif (engine := engine_of_new_tables(using)) and not _are_there(tables, using):
        yield (
            f"`migrate` would make the tables of keys in the database {using!r} without "
            f"transactions, since its default_storage_engine is {engine}."
        )
    if lost := losing(tables, using):
        yield (
            f"Tables of keys in the database {using!r} are not logged: {_listed(lost)}. A crash of "
            "the server empties them, and no value can be read any more."
        )


def _key_tables() -> list[str]:
    return [_table(model) for model in key_models()]


def _are_there(tables: Iterable[str], using: str) -> bool:
    return not set(tables).isdisjoint(connections[using].introspection.table_names())


def check_tables(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for tables of encrypted values that keep what is rolled back, or cut values off."""
    fields = list(encrypted_fields(checked_models(app_configs)))
    return [message for using in databases or () for message in _of(fields, using)]


def _of(fields: Iterable[Any], using: str) -> Iterator[CheckMessage]:
    here = [each for each in fields if router.allow_migrate_model(using, each.model)]
    kept = keeping({_table(each.model) for each in here}, using)
    for field in here:
        if _table(field.model) in kept:
            yield Warning(
                f"The table of {field} in the database {using!r} has no transactions: "
                f"{kept[_table(field.model)]}.",
                hint="What is written to it stays when a transaction is rolled back, and jobs "
                "cannot take back what they should not have written. It takes no value under a "
                "key version that is not committed. " + mending(using),
                obj=field,
                id="envelope_fields.W061",
            )
    types = {table: column_types(table, using) for table in {_table(each.model) for each in here}}
    for field in here:
        kind, wanted = types[_table(field.model)].get(field.column), _type(field, using)
        if kind not in (None, wanted):
            yield Warning(
                f"The column of {field} in the database {using!r} is {kind}, and not {wanted}.",
                hint="It may lack room: MariaDB cuts off what is too long where sql_mode is not "
                "strict, and the value can never be opened. Migrate; if Django does not manage the "
                f"table, have an operator alter the column to {wanted}.",
                obj=field,
                id="envelope_fields.W062",
            )


def _type(field: Any, using: str) -> str:
    return str(field.db_type(connections[using]))


def _table(model: type[Model]) -> str:
    return model._meta.db_table


def _listed(found: dict[str, str]) -> str:
    named = [f"{table} ({why})" for table, why in sorted(found.items())]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more
