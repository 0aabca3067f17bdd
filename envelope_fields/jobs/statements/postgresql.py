"""PostgreSQL: one UPDATE a batch, which joins arrays."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements import Statements

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

    _SAME = "IS NOT DISTINCT FROM"
    _NUMBER = "batch.nth::int"
    _MARK_OF_RUN = "%s::bytea"

    def _swap(self, changes: Sequence[Change], *, replaces_payload: bool) -> int:
        rows = [change.key for change in changes]
        keys = _arrays(rows)
        heads = b"".join(change.head for change in changes)
        if replaces_payload:
            new, news = "batch.new", [[self._binary(change.new) for change in changes]]
            unnested = self._unnested({"new": "bytea"})
            params = [*keys, *news, self._binary(heads)]
        else:
            new = f"{self._nth('%s')} || substr(stored.{self.name}, {self.head_bytes + 1})"
            unnested = self._unnested()
            params = [self._binary(b"".join(change.new for change in changes)), *keys]
            params.append(self._binary(heads))
        where, bounds = self._within(self._stored_keys, rows)
        with self._binary_cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table} AS stored SET {self.name} = {new} FROM {unnested} "
                f"WHERE {self._joined()} "
                # Without IS TRUE it is hashed with the keys, for all rows between the bounds.
                f"AND (substr(stored.{self.name}, 1, {self.head_bytes}) "
                f"= {self._nth('%s')}) IS TRUE "
                f"AND {where}",
                [*params, *bounds],
            )
            return int(cursor.rowcount)

    def swap_values(self, changes: Sequence[Change]) -> int:
        rows = [change.key for change in changes]
        old = [self._binary(change.head) for change in changes]
        new = [self._binary(change.new) for change in changes]
        where, bounds = self._within(self._stored_keys, rows)
        with self._binary_cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table} AS stored SET {self.name} = batch.new "
                f"FROM {self._unnested({'new': 'bytea', 'old': 'bytea'})} "
                f"WHERE {self._joined()} AND (stored.{self.name} = batch.old) IS TRUE AND {where}",
                [*_arrays(rows), new, old, *bounds],
            )
            return int(cursor.rowcount)

    def write_values(self, changes: Sequence[Change]) -> int:
        # All values as one run of bytes, out of which each row's are cut: an array of bytes travels
        # as text, with each of them escaped.
        rows, news = [change.key for change in changes], [change.new for change in changes]
        sizes = list(map(len, news))
        starts = [1, *(start + 1 for start in accumulate(sizes[:-1]))]
        where, bounds = self._within(self._stored_keys, rows)
        with self._binary_cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table} AS stored "
                f"SET {self.name} = substr(%s::bytea, batch.starts, batch.size) "
                f"FROM {self._unnested({'starts': 'int', 'size': 'int'})} "
                f"WHERE {self._joined()} AND {where}",
                [
                    self._binary(b"".join(news)),
                    *_arrays(rows), _array(starts), _array(sizes), *bounds,
                ],
            )  # fmt: skip
            return int(cursor.rowcount)

    def clear(self, names: Sequence[str], keys: Sequence[Key]) -> int:
        where, params = self._among(keys)
        cleared = ", ".join(f"{self._quoted(name)} = NULL" for name in names)
        with self._binary_cursor() as cursor:
            cursor.execute(f"UPDATE {self.table} SET {cleared} WHERE {where}", params)
            return int(cursor.rowcount)

    def _size_of(self, name: str | None) -> str:
        if name is None:
            return super()._size_of(None)
        is_text = self._column_types[name] in ("text", "character varying", "bytea")
        return f"coalesce(octet_length({self._column(name)}{'' if is_text else '::text'}), 0)"

    def _fetch_columns(
        self, sql: str, params: Sequence[Any], names: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        # Django has the others made what it knows of what comes as text.
        types = {*self._types, *(self._column_types[name] for name in names)}
        return self._answer(sql, params, int(_ALIKE_IN_BINARY.issuperset(types)))

    def swap_made(self, changes: Sequence[Change], compared: Sequence[str]) -> int:
        rows = [change.key for change in changes]
        new = self._packed("new", [change.new for change in changes])
        same = self._unchanged(changes, compared, "stored")
        extra = {**new.columns, **same.columns}
        where, bounds = self._within(self._stored_keys, rows)
        with self._binary_cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table} AS stored SET {self.name} = {new.sql} "
                f"FROM {self._unnested(dict.fromkeys(extra, 'int'))} "
                f"WHERE {self._joined()} AND {same.sql} AND {where}",
                [
                    *map(self._binary, new.params),
                    *_arrays(rows), *map(_array, extra.values()),
                    *map(self._binary, same.params), *bounds,
                ],
            )  # fmt: skip
            return int(cursor.rowcount)

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
            f"SELECT {self.aliased_keys}, "
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
        return [self._column_types[name] for name in names]

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

    def _nth(self, heads: str) -> str:
        """Cut the head of a row out of all of them."""
        size = self.head_bytes
        return f"substr({heads}::bytea, ((batch.nth - 1) * {size} + 1)::int, {size})"

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
