"""Blind indexes in migrations: what would leave half an index that lookups ask.

The values of an index are made for its label. So a column that is renamed, or goes with its model
to another name, would not find its rows any more, nor keep them unique; one that is removed and
added again is empty, whatever was known of the first. Triggers name columns, which may be about to
go.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps as installed_apps
from django.db import connections, migrations
from django.db.models import Field

from envelope_fields.conf import configuration
from envelope_fields.databases.tables import has_rows
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import IndexedUnique
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.index_triggers import drop_before_migration
from envelope_fields.migrating.plan import Plan
from envelope_fields.models import BlindIndex, IndexState
from envelope_fields.policy import APPLICATION


class IndexInUse(EnvelopeError):
    """A migration would take an index away, or its name, while lookups ask it."""


def look(*, using: str, plan: Plan | None = None, apps: Any = installed_apps, **_: Any) -> None:
    """Look at a plan before it is run."""
    known = known_indexes()
    if not known:
        return
    dropped = set(_dropped_constraints(plan or []))
    for migration, backwards in plan or []:
        seen = _Look(migration.app_label, known, apps, using)
        for operation in operations_in(migration.operations):
            if not backwards:
                seen.refuse_under_constraint(operation, dropped)
                seen.at(operation)
            elif isinstance(operation, migrations.AddField):
                seen.at_return(operation)
            elif (reverse := _reversed(operation)) is not None:
                replace(seen, known=_not_retired(known)).at(reverse)
    changed = {migration.app_label for migration, _ in plan or []}
    if any(row.label.partition(".")[0] in changed for row in known_indexes().values()):
        # After the last migration they are made again, where they are to stand. A role that may
        # not drop them may have left some.
        drop_before_migration(using)


def _dropped_constraints(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for migration, backwards in plan:
        for operation in operations_in(migration.operations):
            if isinstance(operation, migrations.RemoveConstraint) and not backwards:
                yield migration.app_label, operation.model_name.lower(), operation.name


def known_indexes() -> dict[str, BlindIndex]:
    """Return the indexes that are begun, by their labels."""
    using = configuration().database
    if BlindIndex._meta.db_table not in connections[using].introspection.table_names():
        return {}
    return {row.label: row for row in BlindIndex.objects.using(using)}


def _not_retired(known: dict[str, BlindIndex]) -> dict[str, BlindIndex]:
    """Return those that lookups could ask: the others do not keep a migration from going back."""
    return {label: row for label, row in known.items() if row.state != IndexState.RETIRED}


def operations_in(operations: Iterable[Any]) -> Iterator[Any]:
    """Return the operations of a migration one by one, also those inside others."""
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from operations_in(operation.database_operations)
            # What is added to the state alone has its column already, or will lose it.
            found = operations_in(operation.state_operations)
            yield from (each for each in found if not isinstance(each, migrations.AddField))
        else:
            yield operation


def _reversed(operation: Any) -> Any:
    """Return what an operation does backwards; None where it takes back what it added."""
    if isinstance(operation, migrations.RemoveField):
        return migrations.AddField(operation.model_name, operation.name, Field())
    if isinstance(operation, migrations.RenameField):
        return migrations.RenameField(operation.model_name, operation.new_name, operation.old_name)
    if isinstance(operation, migrations.RenameModel):
        return migrations.RenameModel(operation.new_name, operation.old_name)
    return None


@dataclass(frozen=True, slots=True)
class _Look:
    """What the operations of a migration are looked at with."""

    app_label: str
    known: dict[str, BlindIndex]  # by their labels
    apps: Any  # as they are before the plan
    using: str

    def at(self, operation: Any) -> None:
        """Refuse an operation that takes an index away, or begin an index that is added again."""
        model_name, field_name = _named_by(operation)
        # A model that is renamed takes the labels of all its indexes with it.
        label = f"{self.app_label}.{model_name}.{field_name}".lower()
        found = [row for each, row in self.known.items() if each == label or _is_in(each, label)]
        if not found:
            return
        if not self._has_rows(model_name):
            if isinstance(operation, migrations.RemoveField):
                self._retire_replaced(found)
            return
        for row in found:
            if isinstance(operation, migrations.AddField):
                _begin_again(row)
            elif row.state != IndexState.RETIRED:
                raise IndexInUse(
                    f"{operation.describe()}: the blind index {row.label} is "
                    f"{IndexState(row.state).label}. Its values are made for this name, and "
                    "lookups, and what it keeps unique, would end without an error. Add an index "
                    "of another name that `replaces` it, and retire it: `python manage.py "
                    f"rebuild_indexes {row.label} --to retired`."
                )

    def _retire_replaced(self, found: Iterable[BlindIndex]) -> None:
        """Retire indexes of a table without rows, in whose place another one comes."""
        replaced = {row.replaces for row in self.known.values()}
        for row in found:
            if row.label in replaced and row.state != IndexState.RETIRED:
                change_index_state(row.label, IndexState.VERIFIED, actor=APPLICATION)
                change_index_state(row.label, IndexState.RETIRED, actor=APPLICATION)

    def at_return(self, operation: migrations.AddField) -> None:
        """Refuse to go back to where an index was not there, while it stands in for another."""
        row = self.known.get(f"{self.app_label}.{operation.model_name}.{operation.name}".lower())
        if row is None or row.required_at is None:
            return
        if self._has_rows(operation.model_name):
            raise IndexInUse(
                f"{operation.describe()}, backwards: the blind index {row.label} is "
                f"{IndexState(row.state).label} in the place of {row.replaces}. Go back to that "
                f"first: `python manage.py rebuild_indexes {row.label} --to filling`."
            )

    def refuse_under_constraint(
        self, operation: Any, dropped: Container[tuple[str, str, str]]
    ) -> None:
        """Raise where the column of an index goes, and a constraint over it stays.

        Databases drop such a constraint in silence, or what is left of its columns becomes unique.
        """
        if not isinstance(operation, migrations.RemoveField):
            return
        model_name, name = operation.model_name.lower(), operation.name
        is_known = f"{self.app_label}.{model_name}.{name}".lower() in self.known
        model = self._model(model_name) if is_known else None
        for constraint in () if model is None else model._meta.constraints:
            is_over = isinstance(constraint, IndexedUnique) and any(
                column.name == name for column in constraint.columns(model)
            )
            if is_over and (self.app_label, model_name, constraint.name) not in dropped:
                raise IndexInUse(
                    f"{operation.describe()}: the constraint {constraint.name!r} is over its "
                    "column, and would go with it. Add one over the index that `replaces` it, and "
                    "remove this one first, with RemoveConstraint."
                )

    def _model(self, name: str) -> Any:
        try:
            return self.apps.get_model(self.app_label, name)
        except LookupError:  # the plan makes it
            return None

    def _has_rows(self, model_name: str) -> bool:
        model = self._model(model_name)
        return model is not None and has_rows(model, self.using)


def _named_by(operation: Any) -> tuple[str, str]:
    """Return the names of the model and the field that an operation is about, or empty ones."""
    if isinstance(operation, migrations.RenameModel):
        return operation.old_name, ""
    if isinstance(operation, migrations.RenameField):
        return operation.model_name, operation.old_name
    if isinstance(operation, migrations.AddField | migrations.RemoveField):
        return operation.model_name, operation.name
    return "", "-"


def _is_in(label: str, prefix: str) -> bool:
    return prefix.endswith(".") and label.startswith(prefix)


def _begin_again(row: BlindIndex) -> None:
    """Have an index that is added once more be filled first."""
    if row.state == IndexState.RETIRED:
        raise IndexInUse(
            f"The blind index {row.label} is retired: rows may be there that only it could tell "
            "from each other. Give the new one another name."
        )
    if row.state != IndexState.FILLING:
        change_index_state(row.label, IndexState.FILLING, actor=APPLICATION)
