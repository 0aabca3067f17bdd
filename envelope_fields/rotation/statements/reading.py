"""What is read of a column: mostly what is in front of the payloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envelope_fields.crypto import format as layout
from envelope_fields.rotation.statements.parts import Parts, marks
from envelope_fields.rotation.statements.stored import Key, Stored

HEADERS_IN_A_QUERY = 500  # more are picked out in Python: that many parameters help no database


class Reading(Parts):
    """Reads rows in the order of their primary keys."""

    def end_of_range(self, after: Key | None, rows: int) -> Key | None:
        """Return the key of the last of the next `rows` rows behind `after`, None where none is."""
        where, params = self._between(after, None)
        ahead = [f"ahead.{alias}" for alias in self.aliases]
        found = self._fetch(
            f"SELECT {self._read(ahead)} FROM (SELECT {self.aliased_keys} FROM {self.table} "
            f"WHERE {where} ORDER BY {self.key_list} LIMIT {rows:d}) AS ahead "
            f"ORDER BY {', '.join(f'{key} DESC' for key in ahead)} LIMIT 1",
            params,
        )
        self._refuse_standstill(after, found)
        return tuple(found[0]) if found else None

    def heads(
        self, version_ids: Sequence[bytes], after: Key | None, until: Key | None, rows: int
    ) -> list[Stored]:
        """Return the first `rows` values under these versions, in the order of their keys.

        Where there are many versions, those under others come along.

        Args:
            version_ids: the key versions.
            after: the key to begin behind.
            until: the key to end with; None is the last.
            rows: how many at most.
        """
        where, params = self._between(after, until)
        heads = [layout.header(version_id) for version_id in version_ids]
        if len(heads) > HEADERS_IN_A_QUERY:
            wanted, length = [layout.FORMAT_VERSION], 1
        else:
            wanted, length = heads, layout.HEADER_BYTES
        found = self._fetch(
            self._heads_sql(where, f"substr({{}}, 1, {length}) IN ({marks(wanted)})", rows),
            [*params, *wanted],
        )
        self._refuse_standstill(after, [row[:-2] for row in found[-1:]])
        return [Stored(row[:-2], bytes(row[-2]), row[-1]) for row in found]

    def only(self, version_ids: Sequence[bytes], stored: list[Stored]) -> list[Stored]:
        """Leave out the values under other versions that came along with `heads`."""
        if len(version_ids) <= HEADERS_IN_A_QUERY:
            return stored
        wanted = frozenset(version_ids)
        return [value for value in stored if value.version_id in wanted]

    def _heads_sql(self, where: str, under: str, rows: int) -> str:
        size = f"{self.numbers_bytes}({self.value})"
        return (
            f"SELECT {self._read(self.keys)}, "
            f"substr({self.value}, 1, {layout.PAYLOAD_AT}), {size} FROM {self.table} "
            f"WHERE {where} AND {size} >= {layout.OVERHEAD_BYTES} "
            f"AND {under.format(self.value)} ORDER BY {self.key_list} LIMIT {rows:d}"
        )

    def sizes(self, after: Key | None, rows: int) -> list[tuple[Key, int]]:
        """Return the keys of the next `rows` values behind `after`, and how many bytes each has."""
        where, params = self._between(after, None)
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.numbers_bytes}({self.value}) "
            f"FROM {self.table} WHERE {where} AND {self.value} IS NOT NULL "
            f"ORDER BY {self.key_list} LIMIT {rows:d}",
            params,
        )
        self._refuse_standstill(after, [row[:-1] for row in found[-1:]])
        return [(tuple(row[:-1]), row[-1]) for row in found]

    def values(self, keys: Sequence[Key]) -> dict[Key, Any]:
        """Return the whole values of some rows, as they are stored.

        Args:
            keys: of the rows, in their order.
        """
        where, params = self._among(keys)
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.value} FROM {self.table} WHERE {where}",
            params,
        )
        return {tuple(row[:-1]): row[-1] for row in found}
