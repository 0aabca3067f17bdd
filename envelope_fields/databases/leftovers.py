"""What of the values of a column is left in a database when the column is empty.

What was overwritten is not gone: it is in dead rows, logs, and statistics for the planner. What can
be looked at is; for the rest there are the commands that end it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connections

from envelope_fields.databases import Database, database
from envelope_fields.databases.index_triggers import PREFIX


@dataclass(frozen=True, slots=True)
class Leftover:
    """A place where values may be."""

    database: str  # the alias in `DATABASES`
    where: str
    found: str  # what was seen there; empty where it cannot be seen
    command: str  # what ends it; SQL, or words
    is_clear: bool = False  # it was looked at, and nothing is there


def leftovers(alias: str, table_sql: str, column_sql: str) -> list[Leftover]:
    """Have statistics made anew, and return where values of an empty column may still be.

    Args:
        alias: the database.
        table_sql, column_sql: names, as SQL quotes them.
    """
    looked_at = _OF_VENDOR.get(connections[alias].vendor)
    found = looked_at(database(alias), table_sql, column_sql) if looked_at else []
    listed = [Leftover(alias, *each) for each in found]
    return [*listed, Leftover(alias, _BACKUPS, "", "delete those from before")]


_SHOWN = "values are shown there"
_BACKUPS = "backups, snapshots, and replicas that were stopped"
_Found = Iterator[tuple[Any, ...]]


# A table, its partitions, and what inherits from it.
_TABLES = """
    WITH RECURSIVE tables(oid) AS (
        SELECT %s::regclass::oid
        UNION SELECT inhrelid FROM pg_catalog.pg_inherits JOIN tables ON inhparent = tables.oid
    ), columns AS (
        SELECT attrelid AS table_oid, attnum FROM pg_catalog.pg_attribute
        JOIN tables ON attrelid = tables.oid WHERE attname = %s
    )
"""
# The index of an expression has statistics of its own.
_STATISTICS = f"""
    {_TABLES}, stored AS (
        SELECT table_oid AS relation, attnum FROM columns
        UNION SELECT objid, 0 FROM pg_catalog.pg_depend
        JOIN columns ON refobjid = table_oid AND refobjsubid = attnum
        WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
    )
    SELECT count(*) FROM pg_catalog.pg_stats AS stats
    JOIN pg_catalog.pg_namespace AS schema ON schema.nspname = stats.schemaname
    JOIN pg_catalog.pg_class AS relations
    ON relations.relname = stats.tablename AND relations.relnamespace = schema.oid
    JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid = relations.oid AND attribute.attname = stats.attname
    JOIN stored ON relation = relations.oid AND stored.attnum IN (0, attribute.attnum)
    WHERE num_nonnulls(most_common_vals, histogram_bounds, most_common_elems) > 0
"""
_TRIGGERS = f"""
    {_TABLES} SELECT tgname FROM pg_catalog.pg_trigger JOIN tables ON tgrelid = tables.oid
    WHERE NOT tgisinternal
    UNION SELECT rulename FROM pg_catalog.pg_rewrite JOIN tables ON ev_class = tables.oid
"""
# A view may be of another view. Those that were made later may be of those before.
_MATERIALIZED = f"""
    {_TABLES}, uses AS (
        SELECT ev_class, refobjid, refobjsubid FROM pg_catalog.pg_depend
        JOIN pg_catalog.pg_rewrite AS rules ON rules.oid = objid
        WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
    ), views(oid) AS (
        SELECT ev_class FROM uses JOIN columns ON refobjid = table_oid AND refobjsubid = attnum
        UNION SELECT ev_class FROM uses JOIN views ON refobjid = views.oid
    )
    SELECT oid::regclass::text FROM views JOIN pg_catalog.pg_class USING (oid)
    WHERE relkind = 'm' ORDER BY pg_class.oid
"""


def _postgresql(ask: Database, table_sql: str, column_sql: str) -> _Found:
    names, vacuum = [table_sql, ask.name(column_sql)], f"VACUUM (FULL, ANALYZE) {table_sql}"
    ask.execute(f"ANALYZE {table_sql}")
    yield _postgresql_statistics(ask, names)
    yield from _triggers(ask, _TRIGGERS, names)
    for (view,) in _rows(ask, _MATERIALIZED, names) or ():
        yield f"the materialized view {view}", "", f"REFRESH MATERIALIZED VIEW {view}"
    dead, toast = _dead_rows(ask, names)
    yield "dead rows of the table", f"about {dead:,}", vacuum
    yield "dead rows of its TOAST table", f"about {toast:,}", vacuum
    slots = _number(ask, "SELECT count(*) FROM pg_catalog.pg_replication_slots")
    yield (
        "write-ahead log, its archive, and replication slots",
        f"{slots} slots",
        "CHECKPOINT, and delete the archive from before; a slot that is not read keeps its log",
    )
    replicas = _number(ask, "SELECT count(*) FROM pg_catalog.pg_stat_replication")
    yield "replicas", f"{replicas} are connected", "they follow VACUUM; look at those that are not"


def _postgresql_statistics(ask: Database, names: list[str]) -> tuple[Any, ...]:
    where, command = "statistics of the planner (pg_stats)", f"ANALYZE {names[0]}"
    found = _rows(ask, _STATISTICS, names)
    if found is None:
        return where, "this role may not look", command
    is_clear = not found[0][0]
    if not is_clear and not _number(ask, f"SELECT count(*) FROM {names[0]}"):
        command = "of a table without rows, none are made: they go with the column"
    elif not is_clear:  # PostgreSQL has passed it over, with a warning
        command += ", as the owner of the table"
    return where, "no value, after ANALYZE" if is_clear else _SHOWN, command, is_clear


def _triggers(ask: Database, sql: str, params: list[str]) -> _Found:
    """Yield triggers and rules of the project, which see each value that is overwritten."""
    found = [name for (name,) in _rows(ask, sql, params) or () if not name.startswith(PREFIX)]
    if found:
        yield (
            f"what triggers of the table have written ({', '.join(sorted(found))})",
            "",
            "look at what they copy: they were run for each value that was emptied, too",
        )


def _dead_rows(ask: Database, names: list[str]) -> tuple[int, int]:
    counting = (
        f"{_TABLES} SELECT coalesce(sum(n_dead_tup), 0) FROM pg_catalog.pg_stat_all_tables "
        "JOIN {} ON relid = {}"
    )
    toasts = "pg_catalog.pg_class JOIN tables ON tables.oid = pg_class.oid", "reltoastrelid"
    tables = _number(ask, counting.format("tables", "tables.oid"), names)
    return tables, _number(ask, counting.format(*toasts), names)


def _mysql(ask: Database, table_sql: str, column_sql: str) -> _Found:
    yield _mysql_statistics(ask, table_sql, column_sql)
    yield from _triggers(
        ask,
        "SELECT trigger_name FROM information_schema.triggers "
        "WHERE event_object_schema = DATABASE() AND event_object_table = %s",
        [ask.name(table_sql)],
    )
    past = _rows(
        ask,
        f"SELECT count(*) FROM {table_sql} FOR SYSTEM_TIME ALL WHERE {column_sql} IS NOT NULL",
    )
    if past:  # an error, where the table keeps none
        yield (
            "history of the table, which is system-versioned",
            f"rows of the past with a value: {past[0][0]:,}",
            f"DELETE HISTORY FROM {table_sql}",
            not past[0][0],
        )
    undo = _number(
        ask,
        "SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'",
    )
    yield "old versions in the undo log", f"about {undo:,}", "wait until they are purged"
    yield "freed places in the pages of the table", "", f"OPTIMIZE TABLE {table_sql}"
    is_on = _number(ask, "SELECT @@log_bin")
    yield (
        "binary log",
        "it is on" if is_on else "it is off",
        "PURGE BINARY LOGS BEFORE NOW(), when all replicas have read it",
        not is_on,
    )


def _mysql_statistics(ask: Database, table_sql: str, column_sql: str) -> tuple[Any, ...]:
    where, table = "statistics of the planner (mysql.column_stats)", ask.name(table_sql)
    made_anew = f"ANALYZE TABLE {table_sql} PERSISTENT FOR COLUMNS ({column_sql}) INDEXES ()"
    counting = (
        "SELECT count(*) FROM mysql.column_stats WHERE db_name = DATABASE() AND table_name = %s "
        "AND column_name = %s"
    )
    with_values = f"{counting} AND (min_value IS NOT NULL OR histogram IS NOT NULL)"
    try:
        names = [table, ask.name(column_sql)]
        if ask.fetch(counting, names)[0][0]:
            ask.fetch(made_anew)
        found = ask.fetch(with_values, names)[0][0]
    except DatabaseError:  # this user may not, or it is MySQL
        return where, "this user may not look", made_anew
    return where, _SHOWN if found else "no value", made_anew, not found


def _sqlite(ask: Database, table_sql: str, column_sql: str) -> _Found:
    sampled = _number(ask, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat4'")
    if sampled:
        ask.execute(f"ANALYZE {table_sql}")
        yield "samples of indexes (sqlite_stat4)", "made anew by ANALYZE", f"ANALYZE {table_sql}"
    yield from _triggers(
        ask,
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(%s)",
        [ask.name(table_sql)],
    )
    free, erased = _number(ask, "PRAGMA freelist_count"), _number(ask, "PRAGMA secure_delete")
    yield (
        "free pages, and free places in others",
        f"{free:,} free pages; secure_delete is {'on' if erased else 'off'}",
        "VACUUM",
    )
    if ask.fetch("PRAGMA journal_mode") == [("wal",)]:
        yield "write-ahead log", "", "PRAGMA wal_checkpoint(TRUNCATE)"


def _number(ask: Database, sql: str, params: Any = None) -> int:
    """Return a number that is asked for; 0 where it cannot be seen."""
    found = _rows(ask, sql, params)
    return int(found[0][0]) if found else 0


def _rows(ask: Database, sql: str, params: Any = None) -> list[tuple[Any, ...]] | None:
    """Return what is asked for; None where it cannot be seen."""
    try:
        with ask.seeing_all_rows():
            return ask.fetch(sql, params)
    except DatabaseError:
        return None


_OF_VENDOR = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}
