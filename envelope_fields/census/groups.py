"""The values of a column by the key version that they name: grouped in the database."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import DatabaseError

from envelope_fields.census.columns import Column
from envelope_fields.databases import database
from envelope_fields.databases.errors import says_no_table

COLUMNS_IN_A_QUERY = 50

Grouped = Counter[bytes | str | None]  # key versions, packages, and what is neither


def grouped(column: Column, version_ids: Iterable[bytes] = ()) -> Grouped:
    """Count the values of a column by the key version that their label names, and nothing less.

    Others are counted by the package in whose format they begin, where the field reads that.

    Args:
        column: the column.
        version_ids: count only the values under these key versions; by default all.

    Raises:
        DatabaseError: it could not be counted, or rows would be hidden from it.
    """
    ask = database(column.database)
    with ask.seeing_all_rows():
        # No parameters, so that a percent sign in a name means itself.
        found = ask.fetch(_groups_sql(column, version_ids))
    return _by_version(column, found)


def grouped_each(columns: Sequence[Column]) -> list[Grouped | None]:
    """Count the values of columns of one database, in as few statements as it can be asked in.

    Returns:
        What `grouped` returns for each; None for a column that could not be counted, and no value
        for one whose table is not there.
    """
    found: list[Grouped | None] = []
    for start in range(0, len(columns), COLUMNS_IN_A_QUERY):
        some = columns[start : start + COLUMNS_IN_A_QUERY]
        try:
            found += _grouped_at_once(some)
        except DatabaseError:  # one of them cannot be counted: which?
            found += map(_grouped_if_possible, some)
    return found


def _grouped_at_once(columns: Sequence[Column]) -> list[Grouped]:
    selects = [
        f"SELECT {index} AS which, counts.* FROM ({_groups_sql(column)}) AS counts"  # noqa: S608
        for index, column in enumerate(columns)
    ]
    ask, groups = database(columns[0].database), defaultdict[int, list[Any]](list)
    with ask.seeing_all_rows():
        for which, *group in ask.fetch(" UNION ALL ".join(selects)):
            groups[which].append(group)
    return [_by_version(column, groups[index]) for index, column in enumerate(columns)]


def _grouped_if_possible(column: Column) -> Grouped | None:
    try:
        return grouped(column)
    except DatabaseError as error:
        return Counter() if says_no_table(error) else None


def _by_version(column: Column, groups: Iterable[Any]) -> Grouped:
    counts: Grouped = Counter()
    for label, values in groups:
        counts[_meant(column, None if label is None else bytes(label))] += values
    return counts


def _meant(column: Column, label: bytes | None) -> bytes | str | None:
    """Return what a label says: a key version, a package, or nothing that is known."""
    formats = column.formats
    if label is None:
        return formats.get(b"")  # of what has no form, such as plaintext
    if label and label == column.codec.marker:
        return None
    return formats[label] if label in formats else column.codec.version_id(label)


def _groups_sql(column: Column, version_ids: Iterable[bytes] = ()) -> str:
    ask, codec = database(column.database), column.codec
    # With its table, or SQLite takes the quoted name of a column that is not there for a text.
    stored = f"stored.{column.column_sql}"
    labelled = f"size >= {codec.shortest:d}"
    if codec.marker:
        marker = ask.literal(codec.marker)
        labelled += f" AND substr(label, 1, {len(codec.marker)}) = {marker}"
    formats = [ask.literal(byte) for byte in column.formats if byte]
    if column.formats and codec.marker:  # too short for an envelope, and nothing else
        formats.append(ask.literal(codec.marker))
    others = "".join(f" WHEN substr(label, 1, 1) = {byte} THEN {byte}" for byte in formats)
    labels = ", ".join(ask.literal(codec.label(each)) for each in version_ids)
    # PostgreSQL leaves the rest of a large value where it is: length() does not need it, and
    # substr() fetches the chunk it asks for, since envelopes do not compress. OFFSET 0 keeps the
    # subquery apart, so that it does so once a value.
    return (
        f"SELECT CASE WHEN {labelled} THEN label{others} END, count(*) "  # noqa: S608 - all quoted
        f"FROM (SELECT length({stored}) AS size, "
        f"substr({stored}, {codec.label_at.start + 1}, {codec.label_bytes}) AS label "
        f"FROM {column.table_sql} AS stored WHERE {stored} IS NOT NULL "
        f"{ask.KEEP_APART}) AS labels "
        f"{f'WHERE label IN ({labels}) ' if labels else ''}GROUP BY 1"
    )
