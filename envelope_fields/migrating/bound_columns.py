"""Columns that values are bound to, in migrations: what is in them has to stay, and their types.

A statement of the ORM that would leave values behind is refused. The schema editor asks no field:
it drops a column, makes another type of it, or gives it a default in the place of NULL; and none of
the values that were bound to it would open again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.db.migrations import AddField, AlterField, RemoveField, RenameField, RenameModel
from django.db.migrations.state import ProjectState

from envelope_fields.databases import database
from envelope_fields.databases.errors import says_no_column
from envelope_fields.databases.tables import count_values
from envelope_fields.exceptions import EnvelopeError, documentation_page
from envelope_fields.fields.bound_columns import names_in, referred, type_of
from envelope_fields.migrating.plan import Plan, done_to, is_encrypted, refuse_within, states_before

_HOW_TO = documentation_page("how-to/bind-values-to-their-row")


class ValuesWouldNotOpen(EnvelopeError):
    """A migration would change a column that stored values are bound to."""


@dataclass(frozen=True, slots=True)
class _Change:
    """An operation that changes a column which values are bound to."""

    operation: Any
    backwards: bool
    before: Any  # models of migrations, as the operation finds and leaves them
    after: Any
    bound: tuple[str, ...]  # the names of the encrypted fields

    def refusal(self, using: str) -> str:
        """Return why it is refused, or nothing."""
        if isinstance(self.operation, AlterField):
            was, becomes = (
                each._meta.get_field(self.operation.name) for each in (self.before, self.after)
            )
            if type_of(referred(was)) == type_of(referred(becomes)):
                if not was.null or becomes.null:
                    return ""
                way_out = "give these rows a value first, by save() of each object"
                return self._refusal(using, way_out, {f"{was.name}__isnull": True})
        return self._refusal(using, "bind them to something else first")

    def _refusal(self, using: str, way_out: str, rows: Mapping[str, Any] | None = None) -> str:
        counts = [(name, self._count(name, rows, using)) for name in self.bound]
        found = [f"{self.before._meta.label}.{name} ({count:,})" for name, count in counts if count]
        if not found:
            return ""
        reverses = ", reversed," if self.backwards else ""
        return (
            f"{self.operation.describe()}{reverses} would change what values in the database "
            f"{using!r} are bound to, and none of them would open again: {', '.join(found)}. "
            f"So {way_out}: {_HOW_TO}."
        )

    def _count(self, name: str, rows: Mapping[str, Any] | None, using: str) -> int:
        try:
            count = count_values(self.before, name, using)
            if not count or rows is None:
                return count
            with database(using).seeing_all_rows():
                there = self.before._base_manager.using(using)
                return int(there.filter(**{f"{name}__isnull": False}, **rows).count())
        except DatabaseError as error:
            if not says_no_column(error):
                raise
            return 0  # an operation before makes or renames it, and it is counted again then

    def look_again(self) -> None:
        """Have the operation look right before it runs."""
        alters = isinstance(self.operation, AlterField)  # Django reverses it by running it forwards
        method = "database_backwards" if self.backwards and not alters else "database_forwards"
        refuse_within(self.operation, method, self.refusal, ValuesWouldNotOpen)


def look(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    """Look at a plan before it is run."""
    found = list(_changes(plan or [], using))
    refusals = [refusal for change in found if (refusal := change.refusal(using))]
    if refusals:
        raise ValuesWouldNotOpen("\n".join(refusals))
    for change in found:
        change.look_again()


def _changes(plan: Plan, using: str) -> Iterator[_Change]:
    backwards = bool(plan) and plan[0][1]
    kinds = (AddField if backwards else RemoveField, AlterField)
    operations = [each for migration, _ in plan for each in migration.operations]
    # What was bound to a column when it was added is dropped together with it.
    needed = AlterField if backwards else kinds
    if not any(isinstance(each, needed) for each in done_to("database_operations", operations)):
        return  # before anything is read
    found: list[Any] = []
    bound, first, state = _Bound(), None, ProjectState()
    for app_label, operation, state in states_before(plan, using):
        first = first or state.clone()
        for each in done_to("database_operations", [operation]):
            key = (app_label, getattr(each, "model_name_lower", ""))
            fields = state.models[key].fields if key in state.models else {}
            bound.note(key, fields)
            bound.rename(app_label, key, each)
            if isinstance(each, kinds) and any(map(is_encrypted, fields.values())):
                states = state.clone(), state.clone()
                operation.state_forwards(app_label, states[1])
                found.append((each, key, states, bound.names(key, by_then=not backwards)))
    for key in bound.keys() & state.models.keys():
        bound.note(key, state.models[key].fields)
    last = first if backwards and first else state
    for operation, key, states, names in found:
        before, after = states[::-1] if backwards else states
        stay = last.models[key].fields if key in last.models else {}
        fields = _bound_to(operation, names, before.models[key].fields, stay)
        if fields and operation.allow_migrate_model(using, was := before.apps.get_model(*key)):
            yield _Change(operation, backwards, was, after.apps.get_model(*key), fields)


class _Bound(dict[Any, dict[str, set[str]]]):
    """What the fields of models are bound to in the course of a plan."""

    def note(self, key: Any, fields: Mapping[str, Any]) -> None:
        """Note what the fields of a model are bound to now."""
        for name, field in fields.items():
            if is_encrypted(field):
                self.setdefault(key, {}).setdefault(name, set()).update(_names(field.bind_to))

    def rename(self, app_label: str, key: Any, operation: Any) -> None:
        """Note what a field, or a model, is called from an operation on."""
        if isinstance(operation, RenameModel):
            before = self.get((app_label, operation.old_name_lower), {})
            self[app_label, operation.new_name_lower] = before
        elif isinstance(operation, RenameField):
            fields = self.get(key, {})
            if operation.old_name in fields:
                fields[operation.new_name] = fields[operation.old_name]
            for names in fields.values():
                if names & {operation.old_name, f"{operation.old_name}_id"}:
                    names.add(operation.new_name)

    def names(self, key: Any, *, by_then: bool) -> dict[str, set[str]]:
        """Return what the fields of a model are bound to, at any time or so far."""
        fields = self.setdefault(key, {})
        return {name: set(names) for name, names in fields.items()} if by_then else fields


def _bound_to(operation: Any, bound: Any, fields: Mapping[str, Any], stay: Any) -> tuple[str, ...]:
    """Return which fields, of those that stay, have values that are bound to a column."""
    column, found = {operation.name, f"{operation.name}_id"}, []
    for name, field in fields.items():
        if is_encrypted(field) and name in stay:
            names = bound.get(name, set()).union(*map(_names, field.previous_bindings))
            found += [name] if names & column else []
    return tuple(found)


def _names(names: Any) -> set[str]:
    return {now for _, now in names_in(names)}
