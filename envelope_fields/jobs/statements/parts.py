"""What statements about one column are made of: its names, conditions on keys, bytes of a batch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.census.columns import Column
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import Key, displayed_key

_KEYS_NAMED = 5


class KeysOutOfOrder(EnvelopeError):
    """The rows of a table cannot be gone through in the order of their primary keys."""

    def __init__(self, column: Column) -> None:
        super().__init__(
            f"The rows of {column.model._meta.label} cannot be gone through: the database driver "
            "gives primary keys of this type back as something else, which the database does not "
            "compare as it orders them. Save the rows instead."
        )


class KeysShared(EnvelopeError):
    """Rows have one primary key, so that what is read of one would be written to all of them."""

    def __init__(self, column: Column, keys: Iterable[Key]) -> None:
        listed = ", ".join(sorted({displayed_key(key) for key in keys})[:_KEYS_NAMED])
        super().__init__(
            f"{column}: rows share their primary keys, such as {listed}, and cannot be told apart. "
            "A table that inherits from another has keys of its own, which may be those of that "
            "one. Give each row a key of its own."
        )


class Same(NamedTuple):
    """What a column had in the rows of a batch: a row that has something else is left as it is.

    Attributes:
        column: its name, quoted.
        values: what was read of each row, in their order; None is NULL.
        are_heads: whether that is what the value of a row begins with, and not the whole.
        head_bytes: how long such a beginning is.
    """

    column: str
    values: Sequence[Any]
    are_heads: Sequence[bool]
    head_bytes: int

    @property
    def is_mixed(self) -> bool:
        """Whether rows differ in what of them is compared."""
        return len(set(self.are_heads)) > 1


class Packed(NamedTuple):
    """SQL about the rows of a batch, which are numbered from 1.

    Attributes:
        sql: what gives the bytes of a row, or a condition on them.
        params: what its marks stand for.
        columns: further columns of the batch that are in it: an integer of each row, or NULL.
    """

    sql: str
    params: list[bytes]
    columns: dict[str, list[int | None]]


class Parts:
    """The names of a table and of its columns, and the way to its database.

    Keys go back to the driver as they came from it.
    """

    _SAME = "IS"  # as a comparison that takes NULL for the same as NULL
    # Where one statement joins all rows of a batch:
    _BATCH = "batch"  # what they are called
    _NUMBER = "batch.nth"  # of such a row, from 1
    _MARK_OF_BYTES = "%s"

    def __init__(self, column: Column) -> None:
        self.column = column
        self.codec = column.codec
        self.head_bytes = column.codec.head_bytes
        # Parameters go with each statement, so a percent sign in a name is written twice.
        self.table = column.table_sql.replace("%", "%%")
        self.name = column.column_sql.replace("%", "%%")
        self.value = f"{self.table}.{self.name}"
        self.keys = [self._column(str(field.column)) for field in column.model._meta.pk_fields]
        self.key_list = ", ".join(self.keys)
        self.aliases = [f"key{number}" for number in range(1, len(self.keys) + 1)]

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection to the column's database."""
        return connections[self.column.database]

    def _quoted(self, name: str) -> str:
        return self.connection.ops.quote_name(name).replace("%", "%%")

    def _column(self, name: str) -> str:
        return f"{self.table}.{self._quoted(name)}"

    def _marks(self, items: Sequence[Any]) -> str:
        return ", ".join(["%s"] * len(items))

    # Keys

    def _between(self, after: Key | None, until: Key | None) -> tuple[str, list[Any]]:
        """Return the condition for the keys behind `after` and up to `until`."""
        conditions, params = ["1 = 1"], []
        if after is not None:
            conditions.append(self._compared(self.keys, ">"))
            params.extend(self._operands(after))
        if until is not None:
            conditions.append(self._compared(self.keys, "<="))
            params.extend(self._operands(until))
        return " AND ".join(conditions), params

    def _compared(self, keys: Sequence[str], operator: str) -> str:
        """Return the condition that compares the columns of a key with parameters."""
        return f"(({', '.join(keys)}) {operator} ({', '.join(self._key_marks)}))"

    @property
    def _key_marks(self) -> Sequence[str]:
        return ["%s"] * len(self.keys)

    def _operands(self, key: Key) -> list[Any]:
        return list(key)

    def _among(self, keys: Sequence[Key]) -> tuple[str, list[Any]]:
        """Return the condition for the rows with some keys, which are in their order."""
        items = [item for key in keys for item in key]
        if len(self.keys) == 1:
            return f"{self.keys[0]} IN ({self._marks(keys)})", items
        rows = ", ".join([f"({self._marks(self.keys)})"] * len(keys))
        return f"({self.key_list}) IN ({rows})", items

    @property
    def _aliased_keys(self) -> str:
        """The key columns under names that no two of them share."""
        return ", ".join(map("{} AS {}".format, self.keys, self.aliases))

    def _read(self, keys: Sequence[str]) -> str:
        """Return what selects keys so that they can go back as they came."""
        return ", ".join(keys)

    def _refuse_standstill(self, after: Key | None, last: Sequence[Sequence[Any]]) -> None:
        """Raise where the rows behind a key end with that very key: it would go on endlessly."""
        if last and after == tuple(last[0]):
            raise KeysOutOfOrder(self.column)

    # The rows of a batch

    def _unchanged(self, same: Sequence[Same], table: str) -> Packed:
        """Return the condition that columns of a row are as they were read."""
        conditions, params, columns = ["1 = 1"], list[bytes](), dict[str, list[int | None]]()
        for position, each in enumerate(same):
            value, flags = self._packed(f"read{position}", each.values), f"is_head{position}"
            if each.is_mixed:
                columns[flags] = list(map(int, each.are_heads))
            conditions.append(self._same(each, table, f"{self._BATCH}.{flags} = 1", value.sql))
            params += value.params
            columns |= value.columns
        return Packed(" AND ".join(conditions), params, columns)

    def _same(self, same: Same, table: str, is_head: str, value: str) -> str:
        """Return the condition that a column of a row is as it was read."""
        stored = f"{table}.{same.column}"
        head = f"substr({stored}, 1, {same.head_bytes})"
        compared = head if all(same.are_heads) else stored
        if same.is_mixed:
            compared = f"CASE WHEN {is_head} THEN {head} ELSE {stored} END"
        return f"{compared} {self._SAME} {value}"

    def _packed(self, name: str, values: Sequence[Any]) -> Packed:
        """Return what gives each row of a batch its bytes, packed into one parameter.

        To send thousands of them one by one takes a driver, and the parser of a database, longer
        than to write them.

        Args:
            name: what the columns of the batch begin with that it takes.
            values: of the rows, in their order; None is NULL.
        """
        found = [each.encode() if isinstance(each, str) else each for each in values]
        sizes = [None if each is None else len(each) for each in found]
        if not any(size is not None for size in sizes):
            return Packed("NULL", [], {})
        run, mark = b"".join(each for each in found if each is not None), self._MARK_OF_BYTES
        if len(set(sizes)) == 1:
            sql = f"substr({mark}, ({self._NUMBER} - 1) * {sizes[0]} + 1, {sizes[0]})"
            return Packed(sql, [run], {})
        ends = accumulate(size or 0 for size in sizes)
        starts: list[int | None] = [1, *(end + 1 for end in ends)]
        at, size = f"{name}_at", f"{name}_size"
        sql = f"substr({mark}, {self._BATCH}.{at}, {self._BATCH}.{size})"
        return Packed(sql, [run], {at: starts[:-1], size: sizes})

    # Executing

    def _impatiently(self, statement: str) -> str:
        """Return a statement that waits no longer than `limit_waiting` has said."""
        return statement

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def _by_key(self, rows: Sequence[tuple[Any, ...]]) -> dict[Key, tuple[Any, ...]]:
        """Return what follows the keys in rows, by these; or raise `KeysShared`."""
        size = len(self.keys)
        found = {tuple(row[:size]): tuple(row[size:]) for row in rows}
        if len(found) < len(rows):
            times = Counter(tuple(row[:size]) for row in rows)
            raise KeysShared(self.column, (key for key in times if times[key] > 1))
        return found

    def _of_each(self, keys: Sequence[Key], selected: str) -> list[tuple[Key, Any]]:
        """Return the same with the keys, which several rows of tables that inherit may share."""
        where, params = self._among(keys)
        select = f"SELECT {self._read(self.keys)}, {selected} FROM {self.table} WHERE {where}"
        return [(tuple(row[:-1]), row[-1]) for row in self._fetch(select, params)]

    def _execute(self, sql: str, params: Sequence[Any]) -> int:
        """Execute a statement that writes; return how many rows changed."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._impatiently(sql), params)
            return int(cursor.rowcount)


def by_key(rows: Sequence[tuple[Any, ...]]) -> dict[Key, Any]:
    """Return what rows end with by the keys that they begin with."""
    return {tuple(row[:-1]): row[-1] for row in rows}


def as_bytes(head: Any) -> bytes:
    """Return the beginning of a value of any kind.

    SQLite stores text in a column of bytes, and has NULL as the beginning of an empty value.
    """
    return b"" if head is None or isinstance(head, str) else bytes(head)
