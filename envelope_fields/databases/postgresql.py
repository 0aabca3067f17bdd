"""PostgreSQL: schemas, row-level security, partitions, and transactions that were prepared.

Triggers of tables to which rows are only added: TRUNCATE is refused, too, unless another table is
emptied with it.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import DatabaseError, transaction

from envelope_fields.databases.base import Database, as_django_has_it, error_code
from envelope_fields.databases.relations import AppendOnly, Kind, Relation

PREPARED = "pg_catalog.pg_prepared_xacts"  # which every role may read

_KINDS = {
    "r": Kind.TABLE,
    "p": Kind.TABLE,
    "v": Kind.VIEW,
    "m": Kind.MATERIALIZED_VIEW,
    "f": Kind.FOREIGN_TABLE,
}

# Every role may read the catalogue, also of schemas and tables that it may not use. Temporary
# tables of other connections are left out: no others can read them, and they go with these.
# A partition that is being detached belongs to its table no more.
_RELATIONS = """
WITH RECURSIVE found AS (
    {found}
), ancestors(oid, ancestor) AS (
    SELECT oid, inhparent FROM found JOIN pg_catalog.pg_inherits ON inhrelid = oid
    {attached}
    UNION
    SELECT ancestors.oid, inhparent FROM ancestors
    JOIN pg_catalog.pg_inherits ON inhrelid = ancestor {attached}
)
SELECT schema.nspname, found.relname, found.attname, found.relkind, found.oid::bigint,
    pg_catalog.pg_table_is_visible(found.oid),
    COALESCE(pg_catalog.has_schema_privilege(schema.oid, 'USAGE')
        AND CASE WHEN attnum = 0 THEN pg_catalog.has_table_privilege(found.oid, 'SELECT')
            ELSE pg_catalog.has_column_privilege(found.oid, found.attnum, 'SELECT') END, FALSE),
    pg_catalog.row_security_active(found.oid),
    ARRAY(SELECT ancestor::bigint FROM ancestors WHERE ancestors.oid = found.oid)
FROM found JOIN pg_catalog.pg_namespace AS schema ON schema.oid = found.relnamespace
WHERE schema.nspname NOT IN ('pg_catalog', 'information_schema')
AND (schema.nspname !~ '^pg_(toast|temp_|toast_temp_)' OR schema.oid = pg_my_temp_schema())
ORDER BY schema.nspname, found.relname, found.attname
"""
_TABLES = """
    SELECT oid, relname, relkind, relnamespace, ''::name AS attname, 0::int2 AS attnum
    FROM pg_catalog.pg_class WHERE relkind = ANY(%s::"char"[]) AND relname = ANY(%s::name[])
"""
_COLUMNS = """
    SELECT relation.oid, relation.relname, relation.relkind, relation.relnamespace,
        attribute.attname, attribute.attnum
    FROM pg_catalog.pg_class AS relation
    JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = relation.oid
    JOIN pg_catalog.pg_type AS kind ON kind.oid = attribute.atttypid
    LEFT JOIN pg_catalog.pg_type AS base ON base.oid = kind.typbasetype  -- of a domain
    WHERE relation.relkind = ANY(%s::"char"[])
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
    AND 'bytea'::regtype IN (kind.oid, base.oid, base.typbasetype)
"""
_NAMED = "AND attribute.attname = ANY(%s::name[]) AND relation.relname = ANY(%s::name[])"

_REFUSE = """
CREATE OR REPLACE FUNCTION {name}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{why}' USING ERRCODE = 'restrict_violation';
END $$
"""
_REFUSE_TRUNCATE = """
CREATE OR REPLACE FUNCTION {name}_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM pg_catalog.pg_locks
        WHERE pid = pg_catalog.pg_backend_pid() AND mode = 'AccessExclusiveLock'
        AND relation = '{emptied_with}'::regclass
    ) THEN
        RAISE EXCEPTION '{why}' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$
"""
# Who writes to a partition by its own name locks nothing else.
_WRITERS = """
    WITH RECURSIVE tables(oid) AS (
        SELECT oid FROM pg_catalog.pg_class WHERE relname = ANY(%s::name[]) UNION
        SELECT inhrelid FROM pg_catalog.pg_inherits JOIN tables ON inhparent = tables.oid
    )
    SELECT DISTINCT locks.virtualtransaction, locks.pid::text
    FROM pg_catalog.pg_locks AS locks JOIN tables ON tables.oid = locks.relation
    JOIN pg_catalog.pg_database AS ours ON ours.oid = locks.database
    WHERE ours.datname = current_database() AND locks.granted
    AND locks.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
        'AccessExclusiveLock')
    AND locks.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
"""
# Every transaction locks its own virtual id. Vacuum has no user.
_OLDER = """
    SELECT locks.virtualxid, locks.pid::text FROM pg_catalog.pg_locks AS locks
    JOIN pg_catalog.pg_stat_activity AS others ON others.pid = locks.pid
    WHERE locks.locktype = 'virtualxid' AND locks.mode = 'ExclusiveLock' AND locks.granted
    AND others.datname = current_database() AND others.usesysid IS NOT NULL
    AND others.pid <> pg_catalog.pg_backend_pid()
    AND (others.xact_start IS NULL
        OR others.xact_start < clock_timestamp() - make_interval(secs => %s))
"""


class PostgreSQL(Database):
    """PostgreSQL."""

    NO_TABLE: ClassVar = frozenset({"42P01", "3F000"})
    NO_COLUMN: ClassVar = frozenset({"42703"})
    # lock_not_available, deadlock_detected, serialization_failure
    LOCKED: ClassVar = frozenset({"55P03", "40P01", "40001"})
    SLOW: ClassVar = frozenset({"57014"})  # query_canceled
    FORBIDDEN: ClassVar = frozenset({"42501"})
    REFUSED: ClassVar = frozenset({"P0001", "44000"})  # raise_exception, with_check_option
    WITH_WRITING: ClassVar = 4.0
    COMMITS_BESIDE: ClassVar = True
    LOCK_TIMEOUT: ClassVar = ("SHOW lock_timeout", "SET LOCAL lock_timeout = '{}'")
    KEEP_APART: ClassVar = "OFFSET 0"
    HOLDS: ClassVar = "strpos({column}::text, %s) > 0"
    EXACTLY: ClassVar = '%(expressions)s COLLATE "C"'
    WHICH_SERVER: ClassVar = (
        "SELECT oid, inet_server_addr()::text, pg_postmaster_start_time() "
        "FROM pg_catalog.pg_database WHERE datname = current_database()"
    )

    def relations(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        tables, columns = zip(*names, strict=True)
        return self._found(_COLUMNS + _NAMED, "".join(_KINDS), columns, tables)

    def tables(self, names: Collection[str]) -> list[Relation]:
        return self._found(_TABLES, "".join(_KINDS), names)

    def others(self, names: Collection[str]) -> list[Relation]:
        return self._found(_COLUMNS, "rpmf")  # views store nothing

    def name(self, name_sql: str) -> str:
        # As the server does silently.
        longest = self.connection.ops.max_name_length() or 63
        return super().name(name_sql).encode()[:longest].decode(errors="ignore")

    def quote(self, *names: str | None) -> str:
        # Anybody may have named a schema; Django quotes names of its own alone.
        return ".".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names if name)

    def _found(self, found: str, kinds: str, *names: Collection[str]) -> list[Relation]:
        has_pending = getattr(self.connection, "pg_version", 0) >= 140000
        sql = _RELATIONS.format(
            found=found, attached="AND NOT inhdetachpending" if has_pending else ""
        )
        params = [list(kinds), *(list(map(self.name, each)) for each in names)]
        return [
            Relation(
                schema, table, column, _KINDS[kind.decode() if isinstance(kind, bytes) else kind],
                oid, bool(is_visible), may_read, bool(hides_rows), frozenset(ancestors),
            )
            for schema, table, column, kind, oid, is_visible, may_read, hides_rows, ancestors
            in self.fetch(sql, params)
        ]  # fmt: skip

    def identity(self, relation: Relation) -> object:
        return relation.oid, relation.column

    @contextmanager
    def seeing_all_rows(self) -> Iterator[None]:
        with transaction.atomic(using=self.connection.alias):
            self.execute("SET LOCAL row_security = off")
            yield
            # What is only read can be rolled back. In the transaction of a caller, that gives back
            # the locks, of which a server has not many, and the setting as it was.
            transaction.set_rollback(True, using=self.connection.alias)

    @contextmanager
    def within(self, schema: str) -> Iterator[None]:
        connection: Any = self.connection
        if hasattr(connection, "set_schema"):  # of django-tenants, which sets the path itself
            before, with_public = connection.tenant, connection.include_public_schema
            connection.set_schema(schema)
            try:
                yield
            finally:
                connection.set_tenant(before, with_public)
            return
        with transaction.atomic(using=connection.alias):
            before = self.fetch("SHOW search_path")[0][0]
            path = f"{self.quote(schema)}, {before}" if before else self.quote(schema)
            self.fetch("SELECT set_config('search_path', %s, true)", [path])
            yield
            self.fetch("SELECT set_config('search_path', %s, true)", [before])

    def hides_rows(self, table_sql: str) -> bool:
        found = self.fetch("SELECT row_security_active(to_regclass(%s)::oid)", [table_sql])
        return bool(found[0][0])

    def is_empty_for_certain(self, table_sql: str) -> bool:
        # What has no pages has no rows, and the catalogue's functions hide nothing.
        found = self.fetch(
            "WITH RECURSIVE part(oid) AS (SELECT to_regclass(%s)::oid UNION "
            "SELECT inhrelid FROM pg_catalog.pg_inherits JOIN part ON inhparent = part.oid) "
            "SELECT sum(pg_relation_size(oid)) = 0 FROM part",
            [table_sql],
        )
        return bool(found[0][0])

    def writers(self, tables: Collection[str]) -> list[Any]:
        return self.fetch(_WRITERS, [sorted(tables)])

    def older_transactions(self, seconds: float) -> list[Any]:
        return self.fetch(_OLDER, [seconds])

    def now(self) -> datetime:
        [[seconds]] = self.fetch("SELECT extract(epoch FROM clock_timestamp())")
        return as_django_has_it(datetime.fromtimestamp(float(seconds), UTC))

    def prepared_transaction(self) -> str:
        found = self.fetch(
            f"SELECT gid FROM {PREPARED} WHERE database = current_database() "
            "ORDER BY prepared LIMIT 1"
        )
        return str(found[0][0]) if found else ""

    def is_there(self, relation: Relation) -> bool:
        which = "oid = %s::bigint::oid"
        return bool(self.fetch(f"SELECT 1 FROM pg_catalog.pg_class WHERE {which}", [relation.oid]))

    def sees_the_past(self) -> bool:
        level = str(self.fetch("SHOW transaction_isolation")[0][0])
        return level not in ("read committed", "read uncommitted")  # here, these are one

    def lacks_cast(self, type_sql: str, wanted_sql: str) -> bool:
        # The other databases convert anything to bytes and back.
        try:
            with transaction.atomic(using=self.connection.alias):
                self.execute(f"SELECT CAST(CAST(NULL AS {type_sql}) AS {wanted_sql})")
        except DatabaseError as error:
            return bool(error_code(error) == "42846")  # cannot_coerce
        return False

    def literal(self, value: bytes) -> str:
        return f"decode('{value.hex()}', 'hex')"  # by some settings, a backslash is an escape

    def marked(self, column_sql: str, *, is_bytes: bool) -> str:
        found = column_sql if is_bytes else f"convert_to({column_sql}::text, 'UTF8')"
        return f"{self.literal(bytes(1))} || {found}"

    def returns_bytes(self) -> bool:
        from django.db.backends.postgresql.psycopg_any import is_psycopg3  # needs one of them

        return bool(is_psycopg3)

    @contextmanager
    def truncating(self, before: str, after: str) -> Iterator[None]:
        ops: Any = self.connection.ops
        execute = ops.execute_sql_flush
        ops.execute_sql_flush = lambda statements: execute([before, *statements, after])
        try:
            yield
        finally:
            del ops.execute_sql_flush

    def storage_sql(self, table_sql: str, column_sql: str, *, external: bool) -> str | None:
        how = "EXTERNAL" if external else "EXTENDED"
        return f"ALTER TABLE {table_sql} ALTER COLUMN {column_sql} SET STORAGE {how}"

    def _creating(self, rows: AppendOnly) -> Iterable[str]:
        name, on = rows.triggers, f"ON {rows.table}"
        named = {"name": name, "why": rows.refusal, "emptied_with": rows.emptied_with}
        return (
            _REFUSE.format(**named),
            _REFUSE_TRUNCATE.format(**named),
            f"CREATE TRIGGER {name}_update BEFORE UPDATE {on} FOR EACH ROW "
            f"WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION {name}_refuse()",
            f"CREATE TRIGGER {name}_delete BEFORE DELETE {on} FOR EACH ROW "
            f"EXECUTE FUNCTION {name}_refuse()",
            f"CREATE TRIGGER {name}_truncate BEFORE TRUNCATE {on} FOR EACH STATEMENT "
            f"EXECUTE FUNCTION {name}_truncate()",
        )

    def _dropping(self, rows: AppendOnly) -> Iterable[str]:
        name = rows.triggers
        for each in ("update", "delete", "truncate"):
            yield f"DROP TRIGGER IF EXISTS {name}_{each} ON {rows.table}"
        for each in ("refuse", "truncate"):
            yield f"DROP FUNCTION IF EXISTS {name}_{each}()"

    def _triggers(self, rows: AppendOnly) -> int:
        [[found]] = self.fetch(
            "SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgname LIKE %s "
            "AND tgrelid = %s::regclass AND tgenabled <> 'D'",
            [f"{rows.triggers}_%", rows.table],
        )
        return int(found)
