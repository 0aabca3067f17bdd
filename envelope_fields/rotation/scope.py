"""What a rotation is about: columns, and the key versions whose values it moves."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from django.db import connections

from envelope_fields.census import census
from envelope_fields.census.columns import Column, NoSuchField, encrypted_columns, tables_of
from envelope_fields.census.values import (
    Group,
    KeyVersion,
    count_by_version,
    counted,
    key_versions,
    of_key,
)
from envelope_fields.conf import configuration
from envelope_fields.databases import Kind, Relation
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.jobs import job
from envelope_fields.jobs.runs import key_ids_of
from envelope_fields.keyring.conversions import is_finished
from envelope_fields.keyring.rows import version_ids
from envelope_fields.models import DEFAULT_ALIAS, MasterKey, RotationKind, RotationRun
from envelope_fields.rotation.re_encrypt import ReEncrypt
from envelope_fields.rotation.rewrap import Rewrap, RewrapInRows

MOVING = (RotationKind.REWRAP, RotationKind.RE_ENCRYPT)  # from one key version to another


class RotationScope(job.Scope):
    """What a run moves.

    Args:
        kind: a `RotationKind`.
        versions: all versions of its master keys, key by key.
        only: the numbers of those whose values are moved; empty is every one that is not current.
        fields, database: those of `chosen_columns`.

    Raises:
        MasterKeyNotFound: a key has no version of one of the numbers.
    """

    def __init__(
        self,
        kind: str,
        versions: Iterable[KeyVersion],
        only: Collection[int] = (),
        fields: Iterable[str] = (),
        database: str = "",
    ) -> None:
        self.kind = RotationKind(kind)
        self._fields = fields
        self._database = database
        by_key = _by_master_key(versions)
        for each in by_key.values():
            _refuse_unknown(only, each)
        self._about_one_key = len(by_key) == 1
        self._chosen = [
            version
            for each in by_key.values()
            for version in each
            if not only or version.number in only
        ]

    def columns(self) -> list[Column]:
        return chosen_columns(self._fields, self._database)

    def version_ids(self, column: Column) -> list[bytes]:
        return self._chosen_ids(column, looks=self._looks_at_current(column))

    def count(self, column: Column) -> Counter[UUID | None]:
        return self._by_key(column, self.version_ids(column))

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        return self._by_key(column, self._chosen_ids(column, looks=False))

    def sees_only_by_looking(self, column: Column) -> bool:
        """Whether some values under the current version move, which no header tells.

        A rewrap binds what was written before a field was renamed; a re-encryption moves what was
        written before its row got another key; both bind what was bound to other columns.
        """
        return self._looks_at_current(column) and any(each.is_current for each in self._chosen)

    def job(self, column: Column) -> job.Job:
        kind: type[Rewrap | ReEncrypt] = ReEncrypt
        if self.kind == RotationKind.REWRAP:
            kind = RewrapInRows if column.encrypted_field.is_bound else Rewrap
        return kind(column, about_one_key=self._about_one_key)

    def _looks_at_current(self, column: Column) -> bool:
        field = column.encrypted_field
        if self.kind == RotationKind.REWRAP:
            return bool(field.previous_contexts or field.previous_bindings)
        return callable(field.key) or bool(field.previous_bindings)

    def _only_alias(self, column: Column) -> str | None:
        """Return the alias of the one key that all values of a column go under, if there is one."""
        key = column.encrypted_field.key
        if self.kind == RotationKind.REWRAP or callable(key):
            return None
        return key or DEFAULT_ALIAS

    def _chosen_ids(self, column: Column, *, looks: bool) -> list[bytes]:
        """Return the ids of the versions that values leave, and of those that are looked at."""
        to = self._only_alias(column)
        return [
            each.version_id
            for each in self._chosen
            if looks or not each.is_current or (to is not None and to != each.key_alias)
        ]

    def _by_key(self, column: Column, version_ids: Sequence[bytes]) -> Counter[UUID | None]:
        found: Counter[UUID | None] = Counter()
        for version_id, values in count_by_version(column, version_ids).items():
            found[self._key_of[version_id]] += values
        return found

    @cached_property
    def _key_of(self) -> dict[bytes, UUID]:
        return {each.version_id: each.key_id for each in self._chosen}


def _by_master_key(versions: Iterable[KeyVersion]) -> dict[UUID, list[KeyVersion]]:
    found = defaultdict(list)
    for version in versions:
        found[version.key_id].append(version)
    return found


def _refuse_unknown(numbers: Collection[int], versions: Sequence[KeyVersion]) -> None:
    known = sorted(version.number for version in versions)
    unknown = sorted(set(numbers).difference(known))
    if unknown:
        raise MasterKeyNotFound(
            f"The master key {versions[0].key_alias or versions[0].key_id} has no version "
            f"{unknown[0]}; it has {', '.join(map(str, known))}."
        )


@dataclass(frozen=True, slots=True)
class PlainValues:
    """The values of a field that no run moves: no envelopes, such as plaintext from before."""

    database: str  # the alias in `DATABASES`
    schema: str | None  # as the census has it
    field: str  # `app_label.Model.field`
    values: int  # how many there are, at least 1
    cause: str = "not an envelope"


@dataclass(frozen=True, slots=True)
class UnknownValues(PlainValues):
    """Those under key versions whose rows are not there, as after keys were restored."""

    cause: str = "under a key version that is not there"


def register() -> None:
    """Say what runs of our kinds are about."""
    for kind in MOVING:
        job.register(kind, scope_of)


def scope_of(run: RotationRun) -> RotationScope:
    """Return what a run moves, by the key versions that there are now.

    Raises:
        MasterKeyNotFound: one of its keys, or of their versions, is not there any more.
    """
    key_id = run.master_key_id
    versions = of_key(key_id) if key_id else key_versions(ids=key_ids_of(run))
    return RotationScope(run.kind, versions, run.only_versions, run.only_fields, run.only_database)


def keys_with_work(kind: str, fields: Iterable[str] = (), database: str = "") -> list[MasterKey]:
    """Return the keys that have values for a run of this kind to look at, by alias.

    Raises:
        NoSuchField: no encrypted field has such a name.
        CensusFailed: a column could not be counted.
    """
    declared = declared_columns(fields, database)
    columns = {(str(column), column.database): column for column in declared}
    rows = census(database=database or None)  # before the versions, so that each is known
    versions, found = _by_master_key(key_versions()), set()
    for row in rows:
        column = columns.get((f"{row.model}.{row.field}", row.database))
        if column is not None and row.version is not None:
            one_key = RotationScope(kind, versions[row.version.key_id])
            if row.version_id in one_key.version_ids(column):
                found.add(row.version.key_id)
    keys = MasterKey.objects.using(configuration().database).order_by("alias", "pk")
    return [key for key in keys if key.pk in found] if found else []


def chosen_columns(fields: Iterable[str] = (), database: str = "") -> list[Column]:
    """Return the columns of the encrypted fields that are named, or of all, in every schema.

    Arguments are those of `declared_columns`.

    Raises:
        NoSuchField: no encrypted field has such a name.
        CensusFailed: a database cannot be looked at.
    """
    columns = tables_of(declared_columns(fields, database))
    return [column for column in columns if can_be_written(column.relation)]


def declared_columns(fields: Iterable[str] = (), database: str = "") -> list[Column]:
    """Return the encrypted columns that fields name, or all of them, wherever their tables are.

    A replica is left out: what is moved where it is written, moves there too.

    Args:
        fields: `app_label.Model.field`, or `app_label.Model` for all of a model.
        database: only those in this one, if it is not empty.

    Raises:
        NoSuchField: no encrypted field has such a name.
    """
    columns = [
        column
        for column in encrypted_columns(database or None)
        if database or not is_replica(column.database)
    ]
    names = {name.lower() for name in fields}
    if not names:
        return columns
    known = {name for column in columns for name in _names(column)}
    unknown = sorted(names - known)
    if unknown:
        listed = ", ".join(sorted({str(column) for column in columns})) or "none"
        raise NoSuchField(
            f"{unknown[0]!r} is not an encrypted field. The encrypted fields are: {listed}."
        )
    return [column for column in columns if names & _names(column)]


def plain_values(fields: Sequence[str] = (), database: str = "") -> list[PlainValues]:
    """Count the values that no run moves; arguments are those of `start`.

    Raises:
        NoSuchField: no encrypted field has such a name.
        CensusFailed: a column could not be counted.
    """
    groups = [
        (column, group)
        for column in chosen_columns(fields, database)
        for group in counted(column, history=False)
    ]
    known = version_ids()  # after the values, so that each is known
    unknown = Counter[Column]()
    found = []
    for column, group in groups:
        if group.version_id is None and not _is_converted(column, group):
            found.append(PlainValues(column.database, column.schema, str(column), group.values))
        elif group.version_id is not None and group.version_id not in known:
            unknown[column] += group.values
    return found + [
        UnknownValues(column.database, column.schema, str(column), values)
        for column, values in unknown.items()
    ]


def _is_converted(column: Column, group: Group) -> bool:
    """Whether values are in a format that the field reads, and a conversion moves them."""
    return bool(group.format) and not is_finished(column.model._meta.label, column.field.name)


def can_be_written(relation: Relation) -> bool:
    """Whether values are moved there, rather than in the tables that it shows the rows of.

    A view that a model names may be the one way to write its rows.
    """
    if relation.kind is Kind.VIEW:
        return relation.is_visible
    return relation.kind is not Kind.MATERIALIZED_VIEW


def is_replica(database: str) -> bool:
    """Whether settings say so, as Django has them say it for tests; routers say it better."""
    return bool(connections[database].settings_dict["TEST"].get("MIRROR"))


def _names(column: Column) -> set[str]:
    return {str(column).lower(), column.model._meta.label_lower}
