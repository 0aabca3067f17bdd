"""PostgreSQL: one UPDATE a batch, which joins arrays."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import Any

from envelope_fields.census.indexes import ColumnNotThere
from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements import Statements
from envelope_fields.jobs.statements.parts import Same

# Of others the driver makes what goes back as something else: an address, or bytes.
_KNOWN_IN_BINARY = frozenset(
    {
        "bigint", "boolean", "bpchar", "bytea", "character varying", "date", "double precision",
        "integer", "interval", "numeric", "real", "smallint", "text", "time without time zone",
        "timestamp with time zone", "timestamp without time zone", "uuid",
    }
)  # fmt: skip

# And what comes to the same for Django, which has its own way to read the others from text.
_ALIKE_IN_BINARY = frozenset(
    {
        "bigint", "boolean", "bytea", "character varying", "double precision", "integer",
        "smallint", "text", "uuid",
    }
)  # fmt: skip


class PostgreSQL(Statements):
    """Keys travel as arrays of their columns' types, heads as one run of bytes."""

    # What = compares would be hashed with the keys, for all rows between the bounds.
    _SAME = "IS NOT DISTINCT FROM"
    _NUMBER = "batch.nth::int"
    _MARK_OF_BYTES = "%s::bytea"

    def _update(
        self, changes: Sequence[Change], same: Sequence[Same], *, keeps_payload: bool = False
    ) -> int:
        keys = [change.key for change in changes]
        new = self._packed("new", [change.new for change in changes])
        unchanged = self._unchanged(same, "stored")
        payload = f" || substr(stored.{self.name}, {self.head_bytes + 1})" if keeps_payload else ""
        columns = {**new.columns, **unchanged.columns}
        where, bounds = self._within(self._stored_keys, keys)
        return self._execute(
            f"UPDATE {self.table} AS stored SET {self.name} = {new.sql}{payload} "
            f"FROM {self._unnested(dict.fromkeys(columns, 'int'))} "
            f"WHERE {self._joined()} AND {unchanged.sql} AND {where}",
            [
                *map(self._binary, new.params),
                *_arrays(keys), *map(_array, columns.values()),
                *map(self._binary, unchanged.params), *bounds,
            ],
        )  # fmt: skip

    def _size_of(self, name: str | None) -> str:
        if name is None:
            return super()._size_of(None)
        is_text = self._type(name) in ("text", "character varying", "bytea")
        return f"coalesce(octet_length({self._column(name)}{'' if is_text else '::text'}), 0)"

    def _fetch_columns(
        self, sql: str, params: Sequence[Any], names: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        # Django has the others made what it knows of what comes as text.
        types = {*self._types, *map(self._type, names)}
        return self._answer(sql, params, int(_ALIKE_IN_BINARY.issuperset(types)))

    def limit_waiting(self, lock_seconds: float, seconds: float) -> None:
        self._fetch(
            "SELECT set_config('lock_timeout', %s, true), "
            "set_config('statement_timeout', %s, true)",
            [f"{lock_seconds * 1000:.0f}", f"{seconds * 1000:.0f}"],
        )

    def _heads_sql(self, where: str, labelled: str, rows: int) -> str:
        # OFFSET 0 keeps the subquery apart, so that a large value is looked up once, not twice.
        # CASE has the planner expect to find every second row, and follow the index until there are
        # enough. Of the conditions in it, it expects next to none, and would sort the whole range
        # for each batch, where keys are in another order than rows.
        is_wanted = (
            ""
            if not labelled
            else (
                f"WHERE CASE WHEN size >= {self.codec.shortest} "
                f"THEN {labelled.format('head')} ELSE FALSE END"
            )
        )
        return (
            f"SELECT {', '.join(self.aliases)}, head, size FROM ("
            f"SELECT {self._aliased_keys}, "
            f"substr({self.value}, 1, {self.head_bytes}) AS head, length({self.value}) AS size "
            f"FROM {self.table} WHERE {where} AND {self.value} IS NOT NULL "
            f"ORDER BY {self.key_list} OFFSET 0) AS heads "
            f"{is_wanted} LIMIT {rows:d}"
        )

    def _among(self, keys: Sequence[Key]) -> tuple[str, list[Any]]:
        where, bounds = self._within(self.keys, keys)
        batch = f"SELECT {', '.join(self.aliases)} FROM {self._unnested()}"
        return f"({self.key_list}) IN ({batch}) AND {where}", [*_arrays(keys), *bounds]

    def _within(self, names: Sequence[str], keys: Sequence[Key]) -> tuple[str, list[Any]]:
        """Return the condition for rows from the first to the last key of a batch.

        By it, the planner knows of a part of the table; it would go through the whole for each
        batch where rows are short, their values being in the TOAST table.
        """
        bounds = [self._compared(names, operator) for operator in (">=", "<=")]
        return " AND ".join(bounds), [*keys[0], *keys[-1]]

    @property
    def _key_marks(self) -> Sequence[str]:
        # A number that travels as text would be compared as one of another type.
        return [f"%s::{kind}" for kind in self._types]

    @cached_property
    def _stored_keys(self) -> list[str]:
        return [f"stored.{key.removeprefix(f'{self.table}.')}" for key in self.keys]

    def _joined(self) -> str:
        return " AND ".join(
            f"{key} = batch.{alias}"
            for key, alias in zip(self._stored_keys, self.aliases, strict=True)
        )

    def _unnested(self, extra: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return the batch: its keys, and the types of what else it has by their names."""
        arrays = ", ".join(f"%s::{kind}[]" for kind in (*self._types, *extra.values()))
        names = ", ".join((*self.aliases, *extra, "nth"))
        return f"unnest({arrays}) WITH ORDINALITY AS batch({names})"

    @cached_property
    def _types(self) -> list[str]:
        """The types of the key columns as the database has them: a model may say otherwise.

        With -1 for what a declaration has in brackets, `character` is not one character.
        """
        names = [str(field.column) for field in self.column.model._meta.pk_fields]
        return list(map(self._type, names))

    def _type(self, name: str) -> str:
        """Return the type of a column, or raise `ColumnNotThere` where the table lacks it."""
        if name not in self._column_types:
            raise ColumnNotThere(
                f"{self.column.location}: its table has no column {name!r} in the database "
                f"{self.column.database!r}. Is it migrated with `python manage.py migrate`?"
            )
        return self._column_types[name]

    @cached_property
    def _column_types(self) -> dict[str, str]:
        found = self._answer(
            "SELECT attname, format_type(atttypid, -1) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [self.column.table_sql],
            answers=0,
        )
        return {str(name): str(kind).replace("%", "%%") for name, kind in found}

    @cached_property
    def _format(self) -> int:
        """How answers travel: 1 is binary, where the driver knows all types of the keys so."""
        return int(_KNOWN_IN_BINARY.issuperset(self._types))

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._answer(sql, params, self._format)

    def _execute(self, sql: str, params: Sequence[Any]) -> int:
        with self._binary_cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)

    def _answer(self, sql: str, params: Sequence[Any], answers: int) -> list[tuple[Any, ...]]:
        with self._binary_cursor(answers) as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    @contextmanager
    def _binary_cursor(self, answers: int = 1) -> Iterator[Any]:
        """Open a cursor that sends and gets bytes as they are, where the driver has one.

        Django's own writes parameters into the statement; bytes travel as hexadecimal digits.
        """
        connection: Any = self.connection
        cursor_class = getattr(connection.Database, "Cursor", None)
        if cursor_class is None or connection.force_debug_cursor:  # psycopg 2, or a test
            with connection.cursor() as cursor:
                yield cursor
            return
        connection.ensure_connection()
        with connection.wrap_database_errors, cursor_class(connection.connection) as cursor:
            cursor.format = answers
            yield cursor

    def _binary(self, value: bytes) -> Any:
        connection: Any = self.connection
        return connection.Database.Binary(value)


def _arrays(keys: Sequence[Key]) -> list[Any]:
    """Return an array for each column of some keys."""
    return [_array(list(column)) for column in zip(*keys, strict=True)]


def _array(items: list[Any]) -> Any:
    if {int} <= set(map(type, items)) <= {int, type(None)}:  # the driver takes three times as long
        texts = ("NULL" if item is None else str(item) for item in items)
        return f"{{{','.join(texts)}}}"
    return items
