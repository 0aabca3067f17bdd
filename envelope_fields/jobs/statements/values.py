"""Statements about whole values: what is in a column that is no envelope has no head."""

from collections.abc import Sequence
from typing import Any

from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements.parts import Parts


class ValueStatements(Parts):
    """Reads and writes whole values of one column."""

    _mark_of_bytes = "%s"

    def swap_values(self, changes: Sequence[Change]) -> int:
        """Write whole values in the place of whole ones; return how many rows changed.

        A row whose value is not exactly what a change has as its head is left as it is.

        Args:
            changes: at least one, in the order of their keys.
        """
        where = " AND ".join(f"{key} = %s" for key in self.keys)
        binary = self.connection.Database.Binary
        with self.connection.cursor() as cursor:
            changed = 0
            for key, before, new in changes:
                is_text = isinstance(before, str)
                mark, value = ("%s", before) if is_text else (self._mark_of_bytes, binary(before))
                cursor.execute(
                    self._impatiently(
                        f"UPDATE {self.table} SET {self.name} = {self._mark_of_bytes} "
                        f"WHERE {where} AND {self.value} = {mark}"
                    ),
                    [binary(new), *key, value],
                )
                changed += cursor.rowcount
        return changed

    def first_others(
        self, rows: int, begins_with: Sequence[bytes], *, last: bool = False
    ) -> dict[Key, Any]:
        """Return some values that begin otherwise than with one of some bytes, as they are stored.

        By the keys of their rows.

        Args:
            rows: how many at most.
            begins_with: single bytes.
            last: whether those of the last rows are wanted, and not of the first.
        """
        keys = ", ".join(f"{key} DESC" for key in self.keys) if last else self.key_list
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.value} FROM {self.table} "
            f"WHERE {self.value} IS NOT NULL AND (length({self.value}) = 0 OR "
            f"substr({self.value}, 1, 1) NOT IN ({self._marks(begins_with)})) "
            f"ORDER BY {keys} LIMIT {rows:d}",
            list(begins_with),
        )
        return {tuple(row[:-1]): row[-1] for row in found}


def as_bytes(head: Any) -> bytes:
    """Return the beginning of a value of any kind.

    SQLite stores text in a column of bytes, and has NULL as the beginning of an empty value.
    """
    return b"" if head is None or isinstance(head, str) else bytes(head)
