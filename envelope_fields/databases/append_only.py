"""Tables whose rows are added, and neither changed nor deleted: triggers refuse it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar


@dataclass(frozen=True, slots=True)
class AppendOnly:
    """A table whose rows are added, and neither changed nor deleted afterwards.

    Attributes:
        table: its name.
        columns: the names of its columns.
        triggers: what the names of its triggers begin with.
        emptied_with: the table that is emptied whenever this one may be.
        number, previous: the columns in which no two rows have the same.
    """

    table: str
    columns: tuple[str, ...]
    triggers: str
    emptied_with: str
    number: str
    previous: str
    refusal: ClassVar[str] = "envelope_fields: the audit trail is append-only"


class AppendOnlyTables:
    """Makes and drops the triggers; what they are is each vendor's own, and no vendor has none."""

    if TYPE_CHECKING:

        def execute(self, *statements: str) -> None: ...

    def make_append_only(self, rows: AppendOnly) -> None:
        """Make the triggers that refuse changes of rows, in the place of those that are there.

        Raises:
            DatabaseError: the role may not.
        """
        self.drop_append_only(rows)
        self.execute(*self._creating(rows))

    def drop_append_only(self, rows: AppendOnly) -> None:
        """Drop these triggers."""
        self.execute(*self._dropping(rows))

    def is_append_only(self, rows: AppendOnly) -> bool:
        """Whether the triggers are there, as far as they are written for this database."""
        return self._triggers(rows) == sum("CREATE TRIGGER" in sql for sql in self._creating(rows))

    def _creating(self, rows: AppendOnly) -> Iterable[str]:
        return ()

    def _dropping(self, rows: AppendOnly) -> Iterable[str]:
        return ()

    def _triggers(self, rows: AppendOnly) -> int:
        """Count them."""
        return 0
