"""What every database is asked in the same words, and what each has words of its own for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from envelope_fields.rotation.statements.reading import Reading
from envelope_fields.rotation.statements.stored import Change, Key


class Statements(Reading, ABC):
    """The statements about one encrypted column. Keys go back to the driver as they came from it.

    Args:
        column: the column.
    """

    def largest(self, *, whole: bool) -> int | None:
        """Return how many bytes a value may have to be swapped; None is as many as it likes."""
        return None

    @abstractmethod
    def swap(self, changes: Sequence[Change], *, whole: bool) -> int:
        """Write new heads in front of the payloads, or whole values; return how many rows changed.

        A row whose value does not begin with the head any more is left as it is.

        Args:
            changes: in the order of their keys.
            whole: whether a change has the whole new value.
        """

    def limit_waiting(self, lock_seconds: float, seconds: float) -> None:
        """Have the rest of the transaction fail instead of waiting longer, for locks or at all.

        Not every database waits.
        """

    def lock_what_is_free(self, keys: Sequence[Key]) -> set[Key]:
        """Lock those rows that nobody else has locked, without waiting, and return their keys.

        Args:
            keys: of rows, in their order.
        """
        if not self.connection.features.has_select_for_update_skip_locked:
            return set(keys)  # whoever writes them waits, for as long as it is allowed to
        where, params = self._among(keys)
        free = (
            f"SELECT {self._read(self.keys)} FROM {self.table} WHERE {where} FOR UPDATE SKIP LOCKED"
        )
        found = self._fetch(self._impatiently(free), params)
        return {tuple(row) for row in found}
