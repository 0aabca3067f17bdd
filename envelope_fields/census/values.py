"""How many values of a column are under each key version: grouped in the database, not decrypted.

The bytes of a header are the same on every database (docs/spec/envelope-v1.md, "Layout"), so one
GROUP BY a column answers, in a short transaction and under no lock of ours, and no root key is
asked.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError

from envelope_fields import databases
from envelope_fields.census.columns import CensusFailed, Column
from envelope_fields.databases import UNLOCATED, database
from envelope_fields.databases.errors import advice, says_no_table

COLUMNS_IN_A_QUERY = 50

Grouped = Counter[bytes | str | None]  # key versions, packages, and what is neither


@dataclass(frozen=True, slots=True)
class Group:
    """How many values of a column name the same key version."""

    version_id: bytes | None  # None for those that are not envelopes
    values: int
    history: int = 0  # how many of them are in rows of the past alone
    format: str = ""  # the package by whose format they begin; empty for envelopes, and others


def counted(column: Column, *, history: bool = True) -> list[Group]:
    """Count the values of a column by the key version that they name.

    Args:
        column: the column.
        history: whether rows of the past count, where the table keeps them.

    Raises:
        CensusFailed: it could not be counted, or not all of its rows.
    """
    present = _counted(column)
    if not history or not column.relation.with_history:
        return [_group(*group) for group in present.items()]
    ever = f"{column.table_sql}{column.relation.with_history}"
    everything = _counted(replace(column, table_sql=ever))
    return [
        _group(what, values, max(values - present[what], 0)) for what, values in everything.items()
    ]


def _group(what: bytes | str | None, values: int, history: int = 0) -> Group:
    if isinstance(what, str):
        return Group(None, values, history, what)
    return Group(what, values, history)


def count_by_version(column: Column, version_ids: Collection[bytes]) -> Counter[bytes]:
    """Count the values of a column under each of these key versions, in one statement.

    Raises:
        CensusFailed: the column could not be counted.
    """
    if not version_ids:
        return Counter()
    # More are picked out here.
    named = version_ids if len(version_ids) <= databases.IN_A_QUERY else ()
    found = _counted(column, named)
    wanted = frozenset(version_ids)
    return Counter({each: found[each] for each in wanted if found[each]})


def _counted(column: Column, version_ids: Iterable[bytes] = ()) -> Grouped:
    try:
        return grouped(column, version_ids)
    except DatabaseError as error:
        if says_no_table(error) and not _was_renamed(column):
            return Counter()
        raise CensusFailed(
            f"{column} could not be counted in the database {column.database!r}: "
            f"{_reason(column, error)}"
        ) from error


def _was_renamed(column: Column) -> bool:
    """Whether a table that is not there any more was renamed since it was found."""
    relation = column.relation
    return relation is not UNLOCATED and database(column.database).is_there(relation)


def _reason(column: Column, error: DatabaseError) -> str:
    relation = column.relation
    if not relation.may_read:
        return (
            f"this role may not read {relation}. Grant it USAGE on the schema {relation.schema!r} "
            'and SELECT on the table, or leave the schema out with ENVELOPE_FIELDS["SCHEMAS"].'
        )
    if relation.hides_rows:
        return (
            f"row-level security hides rows of {relation} from this role. Count as a role that "
            "has BYPASSRLS, or as the owner of the table where that is not forced."
        )
    if says_no_table(error):
        return f"{relation} was renamed meanwhile. Count again."
    return f"{type(error).__name__} at {column.location}. {advice(error, column.database)}"


# -- The statements ------------------------------------------------------------------------------


def grouped(column: Column, version_ids: Iterable[bytes] = ()) -> Grouped:
    """Count the values of a column by the key version that their label names, of some or all.

    Others are counted by the package in whose format they begin, where the field reads that.

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
        if values:
            counts[_meant(column, None if label is None else bytes(label))] += values
    return counts


def _meant(column: Column, label: bytes | None) -> bytes | str | None:
    """Return what a label says: a key version, a package, or nothing that is known."""
    formats = column.formats
    if label is None:
        return formats.get(b"")  # of what has no form, such as plaintext
    if label and label == column.codec.marker:
        return None
    return formats[label] if label in formats else label[len(column.codec.marker) :]


def _groups_sql(column: Column, version_ids: Iterable[bytes] = ()) -> str:
    ask, codec = database(column.database), column.codec
    # With its table, or SQLite takes the quoted name of a column that is not there for a text.
    stored = f"stored.{column.column_sql}"
    labelled = f"size >= {codec.shortest:d}"
    if codec.marker:
        marker = ask.literal(codec.marker)
        labelled += f" AND substr(label, 1, {len(codec.marker)}) = {marker}"
    formats = [ask.literal(byte) for byte in column.formats if len(byte) == 1]
    if column.formats and codec.marker:  # too short for an envelope, and nothing else
        formats.append(ask.literal(codec.marker))
    others = "".join(f" WHEN substr(label, 1, 1) = {byte} THEN {byte}" for byte in formats)
    labels = ", ".join(ask.literal(codec.marker + each) for each in version_ids)
    # PostgreSQL leaves the rest of a large value where it is: length() does not need it, and
    # substr() fetches the chunk it asks for, since envelopes do not compress. OFFSET 0 keeps the
    # subquery apart, so that it does so once a value.
    return (
        f"SELECT CASE WHEN {labelled} THEN label{others} END, count(*) "  # noqa: S608 - all quoted
        f"FROM (SELECT length({stored}) AS size, "
        f"substr({stored}, {codec.label_at + 1}, {codec.label_bytes}) AS label "
        f"FROM {column.table_sql} AS stored WHERE {stored} IS NOT NULL "
        f"{ask.KEEP_APART}) AS labels "
        f"{f'WHERE label IN ({labels}) ' if labels else ''}GROUP BY 1"
        f"{'' if labels else _beside_sql(column)}"
    )


def _beside_sql(column: Column) -> str:
    """Return what counts another package's values, in a column beside the encrypted one."""
    if column.beside_sql is None:
        return ""
    ask, old = database(column.database), f"stored.{column.beside_sql}"
    mark, *in_clear = map(ask.literal, column.formats)
    label, prefix = mark, column.prefix_beside
    if in_clear:
        begins = f"substr({ask.EXACTLY % {'expressions': old}}, 1, {len(prefix)})"
        label = f"CASE WHEN {begins} = '{prefix}' THEN {mark} ELSE {in_clear[0]} END"
    return (
        f" UNION ALL SELECT {label}, count(*) FROM {column.table_sql} AS stored "  # noqa: S608
        f"WHERE {old} IS NOT NULL{' GROUP BY 1' if in_clear else ''}"
    )
