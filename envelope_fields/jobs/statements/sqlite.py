"""SQLite: one statement, prepared once and run for each row: no way to a server is to be saved."""

import operator
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements import Statements
from envelope_fields.jobs.statements.parts import Same


class SQLite(Statements):
    """SQLite locks no rows, and waits as long as its connection says (`timeout` in OPTIONS)."""

    def _update(
        self, changes: Sequence[Change], same: Sequence[Same], *, keeps_payload: bool = False
    ) -> int:
        payload = f"substr({self.value}, {self.head_bytes + 1})"
        new = self._joined(payload) if keeps_payload else "%s"
        conditions = [f"{key} = %s" for key in self.keys]
        conditions += [self._same(each, self.table, "%s", "%s") for each in same]
        columns: list[Sequence[Any]] = [[change.new for change in changes]]
        columns += zip(*(change.key for change in changes), strict=True)
        for each in same:
            columns += [each.are_heads, each.values] if each.is_mixed else [each.values]
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.table} SET {self.name} = {new} WHERE {' AND '.join(conditions)}",
                list(zip(*columns, strict=True)),
            )
            return int(cursor.rowcount)

    def _joined(self, payload: str) -> str:
        if self._encoding == "UTF-8":
            # || makes a text of two blobs, of the very bytes; it is a blob again after.
            return f"CAST(%s || {payload} AS BLOB)"
        # A text of UTF-16 has an even number of bytes, so || would drop the last.
        connection: Any = self.connection.connection
        connection.create_function("envelope_joined", 2, operator.add, deterministic=True)
        return f"envelope_joined(%s, {payload})"

    @cached_property
    def _encoding(self) -> str:
        return str(self._fetch("PRAGMA encoding", ())[0][0])

    def _read(self, keys: Sequence[str]) -> str:
        # The sign changes nothing, and hides the declared type, by which Django would make an
        # object that its driver does not take back.
        return ", ".join(f"+{key}" for key in keys)

    def _among(self, keys: Sequence[Key]) -> tuple[str, list[Any]]:
        where, params = super()._among(keys)
        # Rows are compared with a table of rows, not with a list of them.
        return (where.replace(" IN (", " IN (VALUES ") if len(self.keys) > 1 else where), params

    def lock_what_is_free(self, keys: Sequence[Key]) -> set[Key]:
        return set(keys)  # who writes has locked the whole database
