"""What is refused while `migrate` runs, and when a database is flushed, around values that stay.

A column that would become encrypted, or plain, around its values: `AlterField` changes the type of
a column, and every database casts text to bytes silently, so that the plain values would stay, in a
column that says it is encrypted. Values are counted twice: before a plan runs, while nothing has
happened yet; and right before the operation, for what another migration of the plan has written
into the column by then. Operations other than `AlterField` may convert values by themselves; they
are stopped where they have the schema editor alter a column around its values, as `AlterField`
does. An empty column of a type that does not become bytes is refused as well, before the database
does it.

And the tables of keys, which going back to before migration `0001` would drop, and `flush` empties:
with the keys in them goes every value that is stored under one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.apps import apps as installed_apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, router
from django.db.migrations import AlterField
from django.db.migrations.state import ProjectState

from envelope_fields.census import CensusRow, NotCounted, census, not_counted
from envelope_fields.census.columns import Column
from envelope_fields.census.text_copies import TextCopies, text_copies
from envelope_fields.census.uncounted import undeclared
from envelope_fields.census.values import counted, key_versions
from envelope_fields.conf import configuration
from envelope_fields.databases.tables import count_values, count_with_history, lacks_cast
from envelope_fields.exceptions import EnvelopeError, documentation_page, quantity
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.migrating.plan import (
    Conversion,
    FieldPath,
    Plan,
    conversions,
    is_encrypted,
    run_within,
)
from envelope_fields.models import MasterKey, MasterKeyVersion

_HOW_TO = documentation_page("how-to/encrypt-an-existing-column")


class ConversionRefused(EnvelopeError):
    """A migration would leave values behind in the wrong form."""

    # Not a CommandError: tests and deployments migrate by code too, and `call_command` is not the
    # only way there. Not a DatabaseError, which such code may catch and try again.


class KeysInUse(EnvelopeError):
    """Migrating back would drop keys that stored values are under."""


# -- Columns that would become encrypted, or plain -------------------------------------------------


def refuse_conversions(
    *, using: str, plan: Plan | None = None, apps: Any = installed_apps, **_: Any
) -> None:
    """Look at a plan before it is run."""
    found = conversions(plan or [], using)
    refusals = [_refusal_beforehand(conversion, apps, using) for conversion in found]
    if any(refusals):
        raise ConversionRefused("\n".join(filter(None, refusals)))
    for conversion in found:
        _look_again(conversion)


def _refusal_beforehand(conversion: Conversion, apps: Any, using: str) -> str:
    path = conversion.path
    # An operation of the project's own may convert what is in the column.
    if path is None or not isinstance(conversion.operation, AlterField):
        return ""
    # The types are those that the column will have by then.
    return _refusal(conversion, _field_at(path, apps), conversion.was, conversion.becomes, using)


def _look_again(conversion: Conversion) -> None:
    """Have the operation look before it runs: no signal is sent between migrations."""
    # Django reverses an AlterField by running it forwards.
    alters = isinstance(conversion.operation, AlterField)

    @contextmanager
    def looking(app_label: str, schema_editor: Any, *states: ProjectState) -> Iterator[None]:
        # One that is made to spare locks may not come to the schema editor, others only there.
        if alters:
            was, becomes = (_field_at(conversion.at, each.apps) for each in states)
            _raise_refusal(conversion, was, becomes, schema_editor)
        with nullcontext() if alters else _looking(schema_editor, conversion):
            yield

    backwards = conversion.backwards and not alters
    method = "database_backwards" if backwards else "database_forwards"
    run_within(conversion.operation, method, looking)


@contextmanager
def _looking(schema_editor: Any, conversion: Conversion) -> Iterator[None]:
    """Have a schema editor look at each field that it alters, by whatever operation."""
    alter_field = schema_editor.alter_field

    def look_and_alter(
        model: Any, old_field: Any, new_field: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if is_encrypted(old_field) != is_encrypted(new_field):
            _raise_refusal(conversion, old_field, new_field, schema_editor)
        return alter_field(model, old_field, new_field, *args, **kwargs)

    schema_editor.alter_field = look_and_alter
    try:
        yield
    finally:
        del schema_editor.alter_field


def _raise_refusal(conversion: Conversion, was: Any, becomes: Any, schema_editor: Any) -> None:
    refusal = _refusal(conversion, was, was, becomes, schema_editor.connection.alias)
    if refusal:
        raise ConversionRefused(refusal)


def _field_at(path: FieldPath, apps: Any) -> Any:
    return apps.get_model(path.app_label, path.model_name)._meta.get_field(path.field_name)


def _refusal(conversion: Conversion, field: Any, was: Any, becomes: Any, using: str) -> str:
    """Return why a conversion is refused, or nothing."""
    if not conversion.operation.allow_migrate_model(using, field.model):
        return ""
    direction = "Reversing the migration" if conversion.backwards else "The migration"
    is_to_be = "an encrypted field" if conversion.encrypts else "a field that is not encrypted"
    would = f"{direction} {conversion.migration} would make {field} {is_to_be}, and"
    count = count_values(field.model, field.name, using)
    if count and not _remain_readable(conversion, field, was, becomes, using):
        stay = "unencrypted" if conversion.encrypts else "encrypted"
        return (
            f"{would} leave its {quantity(count, 'value')} in the database {using!r} {stay}: none "
            f"could be read. Add a second column and copy the values into it: {_HOW_TO} says how. "
            "If they were converted by other means, the operation belongs into the "
            f"state_operations of SeparateDatabaseAndState.{_of_the_past(field, using)}"
        )
    if not count and lacks_cast(was, becomes, using):
        return (
            f"{would} the database {using!r} has no cast between the types of its column. Since "
            "it holds no values, remove the field and add it again: write RemoveField and AddField "
            "in the place of this operation."
        )
    return ""


def _of_the_past(field: Any, using: str) -> str:
    if not count_with_history(field.model, using):
        return ""
    return " Its table keeps rows of the past, which count, too; DELETE HISTORY removes these."


# -- The tables of keys ----------------------------------------------------------------------------


def refuse_to_drop_keys(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    """Look at a plan before it is run."""
    ours = MasterKeyVersion._meta.app_label
    if not any(
        backwards and migration.initial and migration.app_label == ours
        for migration, backwards in plan or []
    ):
        return
    if using != configuration().database or not router.allow_migrate_model(using, MasterKeyVersion):
        return
    there = _values_text(census(), _copies(), undeclared())
    if there:
        raise KeysInUse(
            f"Reversing the first migration of envelope_fields would drop the keys of {using!r}, "
            f"and values are stored under them: {there}. None could be read again. Delete these "
            "values first, or drop their columns."
        )


def values_that_stay(using: str) -> str:
    """Return where values would stay whose keys go when a database is flushed; empty if nowhere.

    Raises:
        CensusFailed: that could not be counted.
    """
    emptied = connections[using].introspection.django_table_names(
        only_existing=True, include_views=False
    )
    if using != configuration().database or MasterKey._meta.db_table not in emptied:
        return ""
    unseen = [each for each in not_counted() if each.database != using]
    return _values_text(
        [each for each in census() if each.database != using or not _is_emptied(each, emptied)],
        [each for each in _copies() if each.database != using or not _is_emptied(each, emptied)],
        [*undeclared(using), *unseen],
    )


def _is_emptied(found: CensusRow | TextCopies, tables: Iterable[str]) -> bool:
    """Whether values go with a flush, which empties the tables that the search path finds."""
    return found.schema is None and installed_apps.get_model(found.model)._meta.db_table in tables


def _copies() -> list[TextCopies]:
    return text_copies(version.version_id for version in key_versions())


def _values_text(
    rows: Iterable[CensusRow], copies: Iterable[TextCopies], unseen: Iterable[NotCounted]
) -> str:
    """Return where there are values, and how many, but for those of unknown versions."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row.version is not None:
            counts[row.location] += row.values
    counted = [f"{location} ({values})" for location, values in counts.items()]
    return ", ".join([*counted, *map(str, copies), *map(str, unseen)])


# -- Values that stay, since the field reads what another package has stored -----------------------

# No migration has the readers, so they are those of the field as it is declared today.


def _remain_readable(
    conversion: Conversion, field: Any, was: Any, becomes: Any, using: str
) -> bool:
    """Whether every value of a column that becomes encrypted is in a format that it reads."""
    connection = connections[using]
    if not conversion.encrypts or was.db_type(connection) != becomes.db_type(connection):
        return False
    installed = _installed(conversion)
    if not getattr(installed, "legacy", ()):
        return False
    # Not as it is cached with keys: their tables may be made by the same plan.
    if (installed.model._meta.label, installed.name) in conversions_now().finished:
        return False
    quote = connection.ops.quote_name
    column = Column(
        database=using, model=installed.model, field=installed,
        table_sql=quote(field.model._meta.db_table), column_sql=quote(str(field.column)),
    )  # fmt: skip
    return all(group.version_id or group.format for group in counted(column))


def _installed(conversion: Conversion) -> Any:
    """Return the field as it is declared today; None where it is not found."""
    path = conversion.column.last or conversion.at
    try:
        return _field_at(path, installed_apps)
    except (LookupError, FieldDoesNotExist):
        return None
