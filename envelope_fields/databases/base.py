"""What is asked of every database, and what each says or does in its own way."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from random import uniform
from time import sleep
from typing import Any, ClassVar

from django.conf import settings
from django.db import DatabaseError, Error, NotSupportedError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from envelope_fields.databases.relations import AppendOnly, Relation, RowsHidden


class Database:
    """A database behind one of this thread's connections.

    The base knows of one schema, where every row is seen.
    """

    # Codes of errors: SQLSTATE on PostgreSQL, numbers on MariaDB and MySQL.
    NO_TABLE: ClassVar[frozenset[Any]] = frozenset()
    NO_COLUMN: ClassVar[frozenset[Any]] = frozenset()
    LOCKED: ClassVar[frozenset[Any]] = frozenset()  # by another transaction, in time
    SLOW: ClassVar[frozenset[Any]] = frozenset()  # a statement took too long
    REFUSED: ClassVar[frozenset[Any]] = frozenset()  # by a trigger that raises
    FORBIDDEN: ClassVar[frozenset[Any]] = frozenset()  # the role may not
    # How much longer a batch of a job takes than to read and to wrap it, by bench/rotation.py.
    WITH_WRITING: ClassVar[float] = 1

    # Whether a second connection can commit while the transaction of another one has written.
    COMMITS_BESIDE: ClassVar[bool] = False
    LOCK_TIMEOUT: ClassVar = ("", "")  # the query for how long a transaction waits; what sets it
    ALTERS_BY_COPYING: ClassVar[bool] = False  # its rows, where Django alters a table
    WHERE_LOCKED: ClassVar[str] = ""  # what else to say of an error which another's lock causes
    KEEP_APART: ClassVar[str] = ""  # keeps a subquery from being merged into the query around it
    HOLDS: ClassVar[str | None] = None  # the condition that a text column holds a text exactly
    # The column, compared letter by letter: the template of a `Func` of a text.
    EXACTLY: ClassVar[str] = "%(expressions)s"
    # A moment some days later: the template of a `Func`, and what joins the two.
    DAYS_LATER: ClassVar[tuple[str, str]] = ("(%(expressions)s * interval '1 day')", " + ")
    # How many seconds there are between two looks at open transactions, at least and at most.
    BETWEEN_LOOKS: ClassVar[tuple[float, float]] = (0.05, 0.05)
    # Another server, or this one after a crash, answers it otherwise; every role may ask.
    WHICH_SERVER: ClassVar[str] = ""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def relations(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        """Find what stands under quoted names of tables and binary columns, in every schema.

        On PostgreSQL all of them; elsewhere those that are counted otherwise than most.
        """
        return []

    def tables(self, names: Collection[str]) -> list[Relation]:
        """Find what stands under the names of tables, in every schema; as `relations` does."""
        return []

    def doubtful(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        """Find what stands under such names, may show less than there is, and was not found yet."""
        return []

    def others(self, names: Collection[str]) -> Iterable[Relation]:
        """Find every column that stores bytes: a binary one, or one that may, of quoted names."""
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
        """Raise `RowsHidden` if rows of a table are hidden from this connection."""
        if self.hides_rows(table_sql):
            raise RowsHidden(table_sql, self.connection.alias)

    def is_empty_for_certain(self, table_sql: str) -> bool:
        """Whether a table has no rows, also none that are hidden from this connection."""
        return False

    def prepared_transaction(self) -> str:
        """Say which transaction was prepared, and is neither committed nor rolled back.

        No connection sees its rows, and it may be committed at any time. Empty where there is none.
        """
        return ""

    def writers(self, tables: Collection[str]) -> Iterable[tuple[str, str]]:
        """Return the open transactions of others that have written to tables of these names.

        What no other transaction has while it is open, and the number of its process.

        Raises:
            DatabaseError: that cannot be seen; `why_unseen` says why.
        """
        raise NotSupportedError

    def older_transactions(self, seconds: float) -> Iterable[tuple[str, str]]:
        """Return the open transactions of others that began so long ago; as `writers` does.

        One that does not show its age, as that of another role on PostgreSQL, is taken for older.
        """
        raise NotSupportedError

    def why_unseen(self, error: DatabaseError) -> str:
        """Say why open transactions cannot be seen."""
        return f"they could not be seen ({type(error).__name__})"

    def pause(self) -> None:
        """Wait before the next look at open transactions."""
        sleep(uniform(*self.BETWEEN_LOOKS))  # noqa: S311 - no secret

    def now(self) -> datetime:
        """Return what time it is by the clock of the server; here, of this machine."""
        return timezone.now()

    def unseen(self) -> str:
        """Say what of the whole database cannot be seen; empty where nothing is."""
        return ""

    def is_there(self, relation: Relation) -> bool:
        """Whether a relation that was found is still there, under whatever name."""
        return False

    @classmethod
    def says_no_table(cls, error: Error) -> bool:
        """Whether a query failed because its table does not exist."""
        return error_code(error) in cls.NO_TABLE

    @classmethod
    def says_no_column(cls, error: Error) -> bool:
        """Whether a query failed because its table lacks a column."""
        return error_code(error) in cls.NO_COLUMN

    @classmethod
    def says_locked(cls, error: Error) -> bool:
        """Whether a statement failed because another connection has a lock."""
        return error_code(error) in cls.LOCKED

    @classmethod
    def says_unreadable(cls, error: Error) -> bool:
        """Whether a driver makes no value of what a row has, and says so as of an operation."""
        return False

    @contextmanager
    def lock_timeout(self, seconds: int) -> Iterator[None]:
        """Have what waits longer for a lock fail within this block, in transactions.

        Behind a pooler, others may have the connection after each.
        """
        connection, limited, before = self.connection, None, ""
        ask, set_to = self.LOCK_TIMEOUT

        def limit(execute: Any, *statement: Any) -> Any:
            nonlocal limited, before
            # Each transaction has a list of its own.
            if ask and connection.in_atomic_block and limited is not connection.run_on_commit:
                limited = connection.run_on_commit
                before = before or self.fetch(ask)[0][0]
                self.execute(set_to.format(f"{seconds}s"))
            return execute(*statement)

        with connection.execute_wrapper(limit):
            yield
        if connection.in_atomic_block and limited is connection.run_on_commit:
            self.execute(set_to.format(before))

    def lock_for_writing(self, table: str) -> None:
        """Take the lock that a later write in this transaction needs, if all share one."""

    def reads_uncommitted(self) -> bool:
        """Whether this connection reads what others have not committed."""
        return False

    def sees_the_past(self) -> bool:
        """Whether a transaction sees the database as it was when it began."""
        return self.isolation_level() != "read committed"

    def isolation_level(self) -> str:
        """Return the isolation level of the settings; Django's default where they have none."""
        options = self.connection.settings_dict["OPTIONS"]
        return str(options.get("isolation_level", "read committed")).lower()

    def indexed_bytes(self, length: int) -> str | None:
        """Return the type of a binary column with a plain index; None is that of Django."""
        return None

    def lacks_cast(self, type_sql: str, wanted_sql: str) -> bool:
        """Whether a column cannot be altered from one type to another, whatever is in it."""
        return False

    def storage_sql(self, table_sql: str, column_sql: str, *, external: bool) -> str | None:
        """Return what sets whether large values are kept apart and uncompressed, if there is it."""
        return None

    def literal(self, value: bytes) -> str:
        """Return bytes as SQL has them."""
        return f"x'{value.hex()}'"

    def marked(self, column_sql: str, *, is_bytes: bool) -> str:
        """Return SQL for the bytes of a column, or of its text in UTF-8, behind a byte of zeros."""
        return f"CAST(X'00' || {column_sql} AS BLOB)"

    def as_stored(self, text: str, table: str, column: str) -> str:
        """Return what a column, by names in models, stores of a text without an error."""
        return text

    def returns_bytes(self) -> bool:
        """Whether the driver returns bytes as they were stored."""
        return True

    @contextmanager
    def truncating(self, before: str, after: str) -> Iterator[None]:
        """Have statements executed before and after Django's, where these are TRUNCATE."""
        yield

    # Tables whose rows are only added; a vendor that is not known has no triggers for them

    def make_append_only(self, rows: AppendOnly) -> None:
        """Make the triggers that refuse changes anew; DatabaseError where the role may not."""
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
        return 0

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

    def execute(self, *statements: str) -> None:
        """Execute statements without parameters."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def fetch(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())


def error_code(error: Error) -> Any:
    """Return the code of an error, as its driver has it; else its first argument."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return code or next(iter(error.args), None)


def as_django_has_it(moment: datetime) -> datetime:
    """Return a moment as `timezone.now()` returns one, whichever time zone is activated."""
    zone = timezone.get_default_timezone()
    return moment if settings.USE_TZ else timezone.make_naive(moment, zone)
