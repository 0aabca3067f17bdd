"""The column of an encrypted field in a query: it can be selected, and that is all."""

from __future__ import annotations

from typing import Any

from django.db.models.expressions import Col

from envelope_fields.fields.errors import refuse


class EncryptedCol(Col):
    """A reference to the column, read by the field's reader."""

    target: Any

    def get_db_converters(self, connection: Any) -> list[Any]:
        if self.output_field == self.target:
            return [self.target.reader]
        return super().get_db_converters(connection)

    # Expressions ask their sources for this when they have no output field of their own (Max,
    # Upper, Coalesce): while SQL is made, so before a database could answer something.
    @property
    def _output_field_or_none(self) -> Any:
        raise refuse(self.target, "the database cannot compute on its values")
