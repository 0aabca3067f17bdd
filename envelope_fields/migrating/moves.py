"""Columns that move, in migrations: none is dropped while the values of a field are in it.

Forwards, that is the column in clear, whose values may not be in the other one yet; backwards, the
encrypted one, which may be the only one that has them. And one that is added late, when the field
is read from there already, is filled at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connections, router
from django.db.migrations import AddField, AlterField, RemoveField
from django.db.migrations.state import ProjectState
from django.db.models import Model

from envelope_fields.databases import database
from envelope_fields.databases.errors import says_no_column, says_no_table
from envelope_fields.exceptions import EnvelopeError, quantity
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.migrating.plan import Plan, done_to, refuse_within, run_within, states_before
from envelope_fields.models import ColumnPhase

_UNDER_WAY = frozenset(ColumnPhase) - {ColumnPhase.CLEAR, ColumnPhase.ONLY}

_filling: list[Callable[[type[Model], str, ColumnPhase, str], None]] = []


class ValuesWouldBeLost(EnvelopeError):
    """A migration would drop a column that has the values of a field that moves."""


def fill_late_columns_by(fill: Callable[[type[Model], str, ColumnPhase, str], None]) -> None:
    """Have a function encrypt what is in clear in the table of a column that is added late.

    Args:
        fill: takes the model, the name of its field, the phase, and the alias of the database.
    """
    _filling.append(fill)


def look(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    """Look at a plan before it is run."""
    for migration, backwards in plan or []:
        for operation in done_to("database_operations", migration.operations):
            if not backwards and isinstance(operation, AddField) and _converts(operation.field):
                _fill_if_late(operation)
    found = list(_drops(plan or [], using))
    refusals = [refusal for drop in found if (refusal := drop.refusal(using))]
    if refusals:
        raise ValuesWouldBeLost("\n".join(refusals))
    for drop in found:
        drop.look_again()


def _fill_if_late(operation: AddField) -> None:
    @contextmanager
    def filled_after(
        app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> Iterator[None]:
        yield
        using = schema_editor.connection.alias
        model = to_state.apps.get_model(app_label, operation.model_name)
        if router.allow_migrate_model(using, model):
            phase = conversions_now().phase(model._meta.label, operation.name)
            for fill in _filling if phase.reads_new else ():
                fill(model, operation.name, phase, using)

    run_within(operation, "database_forwards", filled_after)


@dataclass(frozen=True, slots=True)
class _Drop:
    """An operation that drops one of the two columns of a field, or has it read alone."""

    operation: Any
    backwards: bool  # and so it drops the encrypted column
    label: str  # of the model
    name: str  # of the encrypted field
    table: str
    old: str  # the names of its columns
    new: str

    def refusal(self, using: str) -> str:
        """Return why it is refused, or nothing."""
        phase = conversions_now().phases.get((self.label, self.name))
        field = f"{self.label}.{self.name}"
        if self.backwards:
            return self._refusal_backwards(phase, field, using)
        values = self._count(using, self.old)
        if values:
            return (
                f"{self._what} would drop {quantity(values, 'value')} in clear of {field}, in the "
                f"database {using!r}: its phase is {phase or ColumnPhase.CLEAR}. Bring it to "
                f"`only` first: `python manage.py convert_field {field} --to only`."
            )
        if phase in _UNDER_WAY and self._count(using, None):
            return (
                f"{self._what}: {field} is {phase}, and its column in clear is read or written. "
                f"Bring it to `only` first: `python manage.py convert_field {field} --to only`."
            )
        return ""

    def _refusal_backwards(self, phase: ColumnPhase | None, field: str, using: str) -> str:
        if phase in (*_UNDER_WAY, ColumnPhase.ONLY) and self._count(using, None):
            return (
                f"{self._what}, reversed, would drop the encrypted column of {field}, in the "
                f"database {using!r}, which is {phase}. Go back to `clear` first, as is possible "
                f"until `only`: `python manage.py convert_field {field} --to clear`."
            )
        values = self._count(using, self.new, without=self.old)
        if values:
            return (
                f"{self._what}, reversed, would drop {quantity(values, 'value')} of {field}, in "
                f"the database {using!r}, that its column in clear lacks: copy them there first."
            )
        return ""

    @property
    def _what(self) -> str:
        return str(self.operation.describe())

    def _count(self, using: str, column: str | None, *, without: str | None = None) -> int:
        """Count the rows with a value in a column, and none in another one that may not be there.

        All rows, where no column is named.
        """
        quote, ask = connections[using].ops.quote_name, database(using)
        # With the table: SQLite takes the quoted name of a column that is not there for a text.
        has = [f"stored.{quote(column)} IS NOT NULL"] if column else []
        lacks = [f"stored.{quote(without)} IS NULL"] if without else []
        for conditions in ([*has, *lacks], has):
            where = " AND ".join(conditions or ["1 = 1"])
            counting = f"SELECT count(*) FROM {quote(self.table)} AS stored WHERE {where}"  # noqa: S608 - all quoted
            try:
                with ask.seeing_all_rows():
                    [[found]] = ask.fetch(counting)
                return int(found)
            except DatabaseError as error:
                if says_no_table(error):
                    return 0
                if not says_no_column(error):
                    raise
        return 0

    def look_again(self) -> None:
        """Have a migration look right before it drops the column in clear."""
        if not self.backwards:
            refuse_within(self.operation, "database_forwards", self.refusal, ValuesWouldBeLost)


def _drops(plan: Plan, using: str) -> Iterator[_Drop]:
    backwards = bool(plan) and plan[0][1]
    operations = (
        each
        for migration, _ in plan
        for each in done_to("database_operations", migration.operations)
    )
    if not any(_may_drop(each, backwards) for each in operations):
        return  # before anything is read
    for app_label, operation, state in states_before(plan, using):
        for each in done_to("database_operations", [operation]):
            yield from _drop(each, app_label, state, backwards, using)


def _may_drop(operation: Any, backwards: bool) -> bool:
    if backwards:
        return isinstance(operation, AddField) and _converts(operation.field) is not None
    return isinstance(operation, RemoveField | AlterField)


def _drop(
    operation: Any, app_label: str, state: ProjectState, backwards: bool, using: str
) -> Iterator[_Drop]:
    if not _may_drop(operation, backwards):
        return
    app_label = _label_of(operation, app_label, state)
    named = _encrypted(operation, app_label, state, backwards)
    if named is None or not router.allow_migrate(
        using, app_label, model_name=operation.model_name_lower
    ):
        return
    state = state.clone()
    if backwards:
        operation.state_forwards(app_label, state)
    model = state.apps.get_model(app_label, operation.model_name)
    field: Any = model._meta.get_field(named)
    yield _Drop(
        operation, backwards, model._meta.label, named, model._meta.db_table,
        str(field.plain_field.column), str(field.column),
    )  # fmt: skip


def _label_of(operation: Any, app_label: str, state: ProjectState) -> str:
    """Return the label of the model; it may be another one than that of the migration."""
    name = operation.model_name_lower
    if (app_label, name) in state.models:
        return app_label
    others = [label for label, other in state.models if other == name]
    return others[0] if len(others) == 1 else app_label


def _encrypted(operation: Any, app_label: str, state: ProjectState, backwards: bool) -> str | None:
    """Return the name of the field that an operation takes a column from."""
    if backwards:
        return str(operation.name)
    model = state.models.get((app_label, operation.model_name_lower))
    fields = {} if model is None else model.fields
    if isinstance(operation, RemoveField):
        return next(
            (name for name, field in fields.items() if _converts(field) == operation.name), None
        )
    before = _converts(fields.get(operation.name))
    is_ended = before and before in fields and before != _converts(operation.field)
    return operation.name if is_ended else None


def _converts(field: Any) -> str | None:
    return getattr(field, "converts", None)
