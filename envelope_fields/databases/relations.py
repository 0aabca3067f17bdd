"""What stands under the name of a table: not always a table, and not always one.

And tables whose rows are added, and neither changed nor deleted: triggers refuse it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from envelope_fields.exceptions import EnvelopeError


class Kind(Enum):
    """What a relation is, as far as it matters to those who count its rows."""

    TABLE = "a table"
    VIEW = "a view, which may leave rows out; what it shows was counted"
    MATERIALIZED_VIEW = (
        "a materialized view, which shows rows as they were when it was refreshed; these were "
        "counted"
    )
    FOREIGN_TABLE = "a foreign table, whose server may leave rows out; what it shows was counted"
    VERSIONED_TABLE = "a table that keeps its history"


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation, and mostly one of its columns, as the catalogue of its database describes it.

    Attributes:
        schema: its schema; None where the database has none.
        table, column: their names; no column where the table alone was asked for.
        kind: what it is.
        oid: by what PostgreSQL knows it, under whatever name.
        is_visible: whether its name means it without that of the schema.
        may_read: whether this connection's role may read the column, or the table.
        hides_rows: whether row-level security hides rows from this connection's role.
        ancestors: the `oid` of each relation whose rows its own belong to.
    """

    schema: str | None = None
    table: str = ""
    column: str = ""
    kind: Kind = Kind.TABLE
    oid: int = 0
    is_visible: bool = True
    may_read: bool = True
    hides_rows: bool = False
    ancestors: frozenset[int] = frozenset()

    @property
    def with_history(self) -> str:
        """What follows the name of the table in SQL, so that its rows of the past count, too."""
        return " FOR SYSTEM_TIME ALL" if self.kind is Kind.VERSIONED_TABLE else ""

    def __str__(self) -> str:
        """Name the table and the column, with the schema where there is one."""
        return ".".join(filter(None, (self.schema, self.table, self.column)))


# What is known of a column that the catalogue was not asked for, or does not have.
UNLOCATED = Relation()


@dataclass(frozen=True, slots=True)
class AppendOnly:
    """A table whose rows are added, and neither changed nor deleted afterwards.

    Attributes:
        table, columns: its name, and those of its columns.
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


class RowsHidden(EnvelopeError):
    """Row-level security hides rows of a table from this connection's role."""

    def __init__(self, table: str, database: str) -> None:
        super().__init__(
            f"Row-level security hides rows of {table} in the database {database!r} from this "
            "role. Do this as a role that has BYPASSRLS, or as the owner of the table where that "
            "is not forced."
        )
