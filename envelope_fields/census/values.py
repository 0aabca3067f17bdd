"""How many values of a column are under each key version: grouped in the database, not decrypted.

The bytes of a header are the same on every database (docs/spec/envelope-v1.md, "Layout"), so one
GROUP BY a column answers, in a short transaction and under no lock of ours, and no root key is
asked. What these key versions are, the keys' database says.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet

from envelope_fields import databases
from envelope_fields.census.columns import CensusFailed, Column
from envelope_fields.conf import configuration
from envelope_fields.databases import UNLOCATED, database
from envelope_fields.databases.errors import advice, says_no_table
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

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
        found = ask.fetch(groups_sql(column, version_ids))
    return by_version(column, found)


def by_version(column: Column, groups: Iterable[Any]) -> Grouped:
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
    return formats[label] if label in formats else column.codec.version_id(label)


def groups_sql(column: Column, version_ids: Iterable[bytes] = ()) -> str:
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
        f"{'' if labels else column.beside_groups_sql()}"
    )


# -- What they are -------------------------------------------------------------------------------

Key = MasterKey | MasterKeyVersion | UUID | str

_ORDER = ("master_key__alias", "master_key_id", "number")


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A key version that the keys' database knows.

    Attributes:
        version_id: the 8 bytes by which envelopes name it.
        number: its number; the highest of its key that was opened once is current.
        state: its own state, or where that is enabled, the state of its key.
        key_id, key_alias: its master key; the alias is None once the key is destroyed.
        is_current: whether values are written under it.
        root_key: the name of the root key that wraps it.
        wrapping_key_id: what that root key says that it wrapped it with; may be empty.
    """

    version_id: bytes
    number: int
    state: str
    key_id: UUID
    key_alias: str | None
    is_current: bool
    root_key: str
    wrapping_key_id: str


def key_versions(*keys: Key, ids: QuerySet[Any, UUID] | None = None) -> list[KeyVersion]:
    """Return every key version, also those that nothing is stored under, key by key.

    Args:
        keys: return the versions of these keys alone; one that is not there has none. Of a
            version, all versions of its key are returned.
        ids: the same, by a query for the ids of keys.
    """
    using = configuration().database
    rows = MasterKeyVersion.objects.using(using).values_list(
        *("version_id", "number", "state", "opened_at"),
        *("master_key__state", "master_key_id", "master_key__alias"),
        *("root_key", "wrapping_key_id"),
    )
    try:
        with transaction.atomic(using=using):
            found = [
                row
                for which in ([Q(master_key__in=ids)] if ids is not None else _chunks(keys))
                for row in rows.filter(which).order_by(*_ORDER)
            ]
    except DatabaseError as error:
        if not says_no_table(error):
            raise
        return []  # not migrated yet; envelopes that are there all the same show as unknown
    current = {key_id: number for _, number, _, opened_at, _, key_id, *_ in found if opened_at}
    return [
        KeyVersion(
            version_id=bytes(version_id),
            number=number,
            state=key_state if state == KeyState.ENABLED else state,
            key_id=key_id,
            key_alias=alias,
            is_current=number == current.get(key_id),
            root_key=root_key,
            wrapping_key_id=wrapped_with,
        )
        for version_id, number, state, _, key_state, key_id, alias, root_key, wrapped_with in found
    ]


def _chunks(keys: Sequence[Key]) -> Iterator[Q]:
    """Yield conditions that find the keys, few enough at a time for every database."""
    if not keys:
        yield Q()
    for some in databases.in_queries(keys):
        aliases = {key for key in some if isinstance(key, str)}
        ids = {_key_id(key) for key in some if not isinstance(key, str)}
        yield Q(master_key__in=ids) | Q(master_key__alias__in=aliases)


def _key_id(key: MasterKey | MasterKeyVersion | UUID) -> UUID:
    if isinstance(key, MasterKeyVersion):
        return key.master_key_id
    return key.pk if isinstance(key, MasterKey) else key


def of_key(key: Key, versions: Iterable[KeyVersion] | None = None) -> list[KeyVersion]:
    """Return the versions of a master key, or the one that is meant.

    Args:
        key: the key, or one of its versions.
        versions: where they are picked from; by default, the database is asked.

    Raises:
        MasterKeyNotFound: there is none.
    """
    versions = key_versions(key) if versions is None else versions
    found = [version for version in versions if _is_of(version, key)]
    if not found:
        raise MasterKeyNotFound(
            f"There is no master key {key} in the database {configuration().database!r}."
        )
    return found


def _is_of(version: KeyVersion, key: Key) -> bool:
    if isinstance(key, MasterKeyVersion):
        return version.version_id == bytes(key.version_id)
    if isinstance(key, MasterKey):
        return version.key_id == key.id
    return key in (version.key_id, version.key_alias)
