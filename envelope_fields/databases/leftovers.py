"""What of the values of a column is left in a database when the column is empty.

What was overwritten is not gone: it is in dead rows, logs, and statistics for the planner. What can
be looked at is; for the rest there are the commands that end it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connections

from envelope_fields.databases import Database, database


@dataclass(frozen=True, slots=True)
class Leftover:
    """A place where values may be.

    Attributes:
        database: the alias in `DATABASES`.
        where: where that is.
        found: what was seen there; empty where it cannot be seen.
        command: what ends it; SQL, or words.
        is_clear: whether it was looked at, and nothing is there.
    """

    database: str
    where: str
    found: str
    command: str
    is_clear: bool = False


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


_BACKUPS = "backups, snapshots, and replicas that were stopped"
_Found = Iterator[tuple[Any, ...]]


def _postgresql(ask: Database, table_sql: str, column_sql: str) -> _Found:
    column, vacuum = ask.name(column_sql), f"VACUUM (FULL, ANALYZE) {table_sql}"
    ask.execute(f"ANALYZE {table_sql}")
    in_statistics = _number(
        ask,
        "SELECT count(*) FROM pg_catalog.pg_stats AS stats "
        "WHERE (quote_ident(schemaname) || '.' || quote_ident(tablename))::regclass = %s::regclass "
        "AND attname = %s AND (most_common_vals IS NOT NULL OR histogram_bounds IS NOT NULL)",
        [table_sql, column],
    )
    yield (
        "statistics of the planner (pg_stats)",
        "values are shown there" if in_statistics else "no value, after ANALYZE",
        f"ANALYZE {table_sql}",
        not in_statistics,
    )
    dead, toast = _dead_rows(ask, table_sql)
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


def _dead_rows(ask: Database, table_sql: str) -> tuple[int, int]:
    counting = (
        "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_catalog.pg_stat_all_tables WHERE relid = {}"
    )
    table = "%s::regclass"
    toast = "(SELECT reltoastrelid FROM pg_catalog.pg_class WHERE oid = %s::regclass)"
    return tuple(_number(ask, counting.format(each), [table_sql]) for each in (table, toast))  # type: ignore[return-value]


def _mysql(ask: Database, table_sql: str, column_sql: str) -> _Found:
    yield _mysql_statistics(ask, table_sql, column_sql)
    undo = _number(
        ask,
        "SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'",
    )
    yield "old versions in the undo log", f"about {undo:,} entries", "wait until they are purged"
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
    return where, "values are shown there" if found else "no value", made_anew, not found


def _sqlite(ask: Database, table_sql: str, column_sql: str) -> _Found:
    sampled = _number(ask, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat4'")
    if sampled:
        ask.execute(f"ANALYZE {table_sql}")
        yield "samples of indexes (sqlite_stat4)", "made anew by ANALYZE", f"ANALYZE {table_sql}"
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
    try:
        with ask.seeing_all_rows():
            return int(ask.fetch(sql, params)[0][0])
    except (DatabaseError, IndexError):
        return 0


_OF_VENDOR = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}
