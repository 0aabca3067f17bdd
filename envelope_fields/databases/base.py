"""What every database can say of its tables, in words of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from envelope_fields.databases.relations import Relation
from envelope_fields.exceptions import EnvelopeError


class RowsHidden(EnvelopeError):
    """Row-level security hides rows of a table from this connection's role."""

    def __init__(self, table: str, database: str) -> None:
        super().__init__(
            f"Row-level security hides rows of {table} in the database {database!r} from this "
            "role. Do this as a role that has BYPASSRLS, or as the owner of the table where that "
            "is not forced."
        )


class Database:
    """A database behind one of this thread's connections.

    The base knows of one schema, where every row is seen.

    Args:
        connection: the connection.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def relations(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        """Find what stands under the names of tables and binary columns, in every schema.

        Args:
            names: of tables and columns, as SQL quotes them.

        Returns:
            On PostgreSQL all of them; elsewhere those that are counted otherwise than most.
        """
        return []

    def tables(self, names: Collection[str]) -> list[Relation]:
        """Find what stands under the names of tables, in every schema; as `relations` does.

        Args:
            names: of tables, as SQL quotes them.
        """
        return []

    def doubtful(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        """Find what stands under such names and may show less than there is.

        Args:
            names: as above.

        Returns:
            Those whose kind `relations` has not told.
        """
        return []

    def others(self, columns: Collection[str], tables: Collection[str]) -> Iterable[Relation]:
        """Find every binary column of one of these names, and every one in tables of these names.

        Args:
            columns, tables: names, as SQL quotes them.
        """
        return []

    def identity(self, relation: Relation) -> object:
        """Return what two descriptions of the same column have in common."""
        return relation.table.lower(), relation.column.lower()

    @contextmanager
    def seeing_all_rows(self) -> Iterator[None]:
        """Have the queries of this block fail where rows would be hidden from them.

        They only read, in a transaction of their own, or in a savepoint where there is one already.
        """
        with transaction.atomic(using=self.connection.alias):
            yield

    @contextmanager
    def within(self, schema: str) -> Iterator[None]:
        """Have names mean what is in a schema first, as in a request of its tenant."""
        yield

    def hides_rows(self, table_sql: str) -> bool:
        """Whether rows of a table are hidden from this connection."""
        return False

    def refuse_hidden(self, table_sql: str) -> None:
        """Raise if rows of a table are hidden from this connection.

        Raises:
            RowsHidden: they are.
        """
        if self.hides_rows(table_sql):
            raise RowsHidden(table_sql, self.connection.alias)

    def is_empty_for_certain(self, table_sql: str) -> bool:
        """Whether a table has no rows, also none that are hidden from this connection."""
        return False

    def prepared_transaction(self) -> str:
        """Say which transaction was prepared, and is neither committed nor rolled back.

        Nobody sees its rows, and it may be committed at any time. Empty where there is none.
        """
        return ""

    def now(self) -> datetime:
        """Return what time it is by the clock of the server; here, of this machine."""
        return timezone.now()

    def unseen(self) -> str:
        """Say what of the whole database cannot be seen; empty where nothing is."""
        return ""

    def is_there(self, relation: Relation) -> bool:
        """Whether a relation that was found is still there, under whatever name."""
        return False

    def name(self, name_sql: str) -> str:
        """Return a name as the catalogue has it, without quotes and the schema before it."""
        return self.names(name_sql)[-1]

    def names(self, name_sql: str) -> list[str]:
        """Return the names that a quoted one is made of: `"a"` is one, and `"a"."b"` are two."""
        mark = name_sql[:1]
        return name_sql.removeprefix(mark).removesuffix(mark).split(f"{mark}.{mark}")

    def quote(self, *names: str | None) -> str:
        """Quote names, the schema first."""
        return ".".join(self.connection.ops.quote_name(name) for name in names if name)

    def fetch(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())


def as_django_has_it(moment: datetime) -> datetime:
    """Return a moment as `timezone.now()` would have told it."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)
