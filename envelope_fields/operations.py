"""Operations for the migrations of projects."""

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor as _Editor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from envelope_fields.databases import database_of


class StoreExternally(Operation):
    """Have PostgreSQL keep large values of an encrypted field apart, without compressing them.

    Envelopes do not compress, so PostgreSQL would try in vain for each value that is written
    (`STORAGE EXTERNAL`, documentation of `ALTER TABLE`). What is stored already stays as it is: it
    did not compress. Other databases are left alone. An `AlterField` that changes the type of the
    column resets it.

    Args:
        model_name: the model.
        name: its encrypted field.
    """

    reversible = True

    def __init__(self, model_name: str, name: str) -> None:
        self.model_name = model_name
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing that a model would know of."""

    def database_forwards(
        self, app_label: str, editor: _Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._store(app_label, editor, to_state, external=True)

    def database_backwards(
        self, app_label: str, editor: _Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._store(app_label, editor, to_state, external=False)

    def describe(self) -> str:
        return f"Store field {self.name} of {self.model_name} externally"

    @property
    def migration_name_fragment(self) -> str:
        return f"store_{self.model_name.lower()}_{self.name.lower()}_externally"

    def _store(
        self, app_label: str, editor: _Editor, state: ProjectState, *, external: bool
    ) -> None:
        connection, model = editor.connection, state.apps.get_model(app_label, self.model_name)
        field: models.Field[Any, Any] = model._meta.get_field(self.name)
        table = editor.quote_name(model._meta.db_table)
        column = editor.quote_name(str(field.column))
        sql = database_of(connection).storage_sql(table, column, external=external)
        if sql and self.allow_migrate_model(connection.alias, model):
            editor.execute(sql)
