"""Columns of a field under conversion in a query: which one is meant is seen when SQL is made."""

from typing import Any

from django.db.models.expressions import Col

from envelope_fields.databases import database_of
from envelope_fields.fields import columns
from envelope_fields.fields.binary import BinaryColumn
from envelope_fields.fields.conversion import call_sites
from envelope_fields.fields.conversion.attribute import MIRRORED, Emptied, LoadedInClear
from envelope_fields.fields.errors import refuse
from envelope_fields.fields.reading import converters_of
from envelope_fields.models.keys import stored_bytes


class Mirror(BinaryColumn):
    """The encrypted column, whose values go into the attribute of the one in clear."""

    def __init__(self, plain: Any) -> None:
        super().__init__(plain.values)
        self.name, self.attname = plain.name, plain.attname
        self.mirror = self

    def __reduce__(self) -> Any:
        return _mirror_of, (self.values,)


def _mirror_of(field: Any) -> Any:
    return field.plain_field.mirror


class ConvertedCol(columns.EncryptedCol):
    """The column of a field under conversion in a query: the one in clear is read by its phase."""

    is_raw = True
    clear: Any = None  # that is read in its place, if it is, which is known when SQL is made

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        encrypted = super().as_sql(compiler, connection)
        self.is_raw = False
        values = self.target.values
        if columns.ENVELOPES in vars(compiler.query):
            return encrypted
        if values.reads_beside:
            return _both(values, self.alias, compiler, connection)
        self.clear = values.column_in_clear(self.alias, connection.alias)
        column = Col(self.alias, values.binary) if self.clear is None else self.clear
        return column.as_sql(compiler, connection)

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        output_field: Any = self.output_field if self.clear is None else self.clear.output_field
        selected: tuple[str, Any] = output_field.select_format(compiler, sql, params)
        return selected

    def get_db_converters(self, connection: Any) -> list[Any]:
        if self.output_field is self.target:
            if self.clear is not None:
                return converters_of(self.clear, connection)
            if self.is_raw:
                return self.raw_converters(connection)
        return super().get_db_converters(connection)

    def raw_converters(self, connection: Any) -> list[Any]:
        """Return what `raw()` makes values by."""
        values: Any = self.target.values
        return values.raw_converters(self.alias, connection)  # type: ignore[no-any-return]


def _both(field: Any, alias: str | None, compiler: Any, connection: Any) -> tuple[str, Any]:
    """Return SQL for what another package has stored beside, with a mark, or the envelope."""
    plain = field.converted
    new, _ = Col(alias, field.binary).as_sql(compiler, connection)  # type: ignore[arg-type]
    old, _ = Col(alias, plain).as_sql(compiler, connection)  # type: ignore[arg-type]
    is_bytes = plain.get_internal_type() == "BinaryField"
    marked = database_of(connection).marked(old, is_bytes=is_bytes)
    return f"CASE WHEN {old} IS NULL THEN {new} ELSE {marked} END", ()


class MirrorCol(ConvertedCol):
    """The column in clear in a query: what is selected and asked is that of the encrypted field.

    Objects have one value of the two, so this one is not read for them; but an envelope is, beside
    NULL in the column in clear, so that no save takes it away.
    """

    is_omitted = False

    def __init__(self, alias: str, target: Any, output_field: Any = None) -> None:
        mirror = target.mirror
        Col.__init__(self, alias, mirror, mirror)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        self.is_omitted = False
        return super().as_sql(compiler, connection)

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        if self.loads_objects:
            self.is_omitted = True
            return self._beside_null(compiler, compiler.connection)
        return super().select_format(compiler, sql, params)

    def _beside_null(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if self.clear is None:
            return "NULL", ()
        old, _ = self.clear.as_sql(compiler, connection)
        new, _ = Col(self.alias, self.target.values.binary).as_sql(compiler, connection)
        return f"CASE WHEN {old} IS NULL THEN {new} END", ()

    def get_db_converters(self, connection: Any) -> list[Any]:
        if self.is_omitted:
            return [_mirrored]
        return super().get_db_converters(connection)

    def raw_converters(self, connection: Any) -> list[Any]:
        column = self.target.values.column_in_clear(self.alias, connection.alias)
        if column is None:
            return [_not_read]
        return [*converters_of(column, connection), _loaded]


def _mirrored(value: Any, expression: Any, connection: Any) -> Any:
    return MIRRORED if value is None else Emptied(stored_bytes(value))


def _not_read(value: Any, expression: Any, connection: Any) -> Any:
    return MIRRORED


def _loaded(value: Any, expression: Any, connection: Any) -> LoadedInClear:
    return LoadedInClear(value)


class ClearCol(Col):
    """The column in clear, by which rows are found as long as it is the one that is read."""

    target: Any
    is_of_clear_column = True
    what = ""  # the lookup that asks it; empty where that has a blind index, and goes on
    call_site: call_sites.CallSite | None = None  # where in the code it is looked up

    def relabeled_clone(self, relabels: Any) -> Any:
        clone = super().relabeled_clone(relabels)
        clone.what, clone.call_site = self.what, self.call_site
        return clone

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        columns.refuse_computing(compiler)
        field = self.target.values
        if field.phase(connection.alias).reads_new:
            raise refuse(field, f"`{self.what}` would compare envelopes, and find nothing")
        if self.what:
            call_sites.note(field, f"`{self.what}`", self.call_site)
        return super().as_sql(compiler, connection)
