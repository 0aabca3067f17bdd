"""What a run is about: columns, and the key versions whose values it moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connections

from envelope_fields.census.columns import Column, encrypted_columns, located
from envelope_fields.census.values import tables_of
from envelope_fields.census.versions import KeyVersion, of_key
from envelope_fields.databases import Kind, Relation
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound
from envelope_fields.models import DEFAULT_ALIAS, RotationKind, RotationPlace, RotationRun


class NoSuchField(EnvelopeError):
    """No encrypted field has the name that was given."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run moves.

    Attributes:
        kind: a `RotationKind`.
        versions: all versions of the master key, of which the last is current.
        only: the numbers of those whose values are moved; empty is every one that is not current.
    """

    kind: str
    versions: Sequence[KeyVersion]
    only: frozenset[int] = frozenset()

    def version_ids(self, column: Column) -> list[bytes]:
        """Return the versions whose values in a column have to be looked at."""
        also_current = self.sees_only_by_looking(column) or self._is_left(column)
        return [each.version_id for each in self._chosen() if also_current or not each.is_current]

    def left_in_the_end(self, column: Column) -> list[bytes]:
        """Return the versions that no value in a column is to be under in the end."""
        is_left = self._is_left(column)
        return [each.version_id for each in self._chosen() if is_left or not each.is_current]

    def sees_only_by_looking(self, column: Column) -> bool:
        """Whether some values under the current version move, which no header tells.

        A rewrap binds what was written before a field was renamed; a re-encryption moves what was
        written before its row got another key.
        """
        field = column.encrypted_field
        if not any(each.is_current for each in self._chosen()):
            return False
        if self.kind == RotationKind.REWRAP:
            return bool(field.previous_contexts)
        return callable(field.key)

    def _is_left(self, column: Column) -> bool:
        """Whether the field writes under another key now, so that all values leave this one."""
        key, alias = column.encrypted_field.key, self.versions[-1].key_alias
        if self.kind == RotationKind.REWRAP or callable(key):
            return False
        return (key or DEFAULT_ALIAS) != alias

    def _chosen(self) -> list[KeyVersion]:
        return [each for each in self.versions if not self.only or each.number in self.only]


def scope_of(run: RotationRun) -> Scope:
    """Return what a run moves, by the key versions that there are now.

    Raises:
        MasterKeyNotFound: its key is not there any more.
    """
    return scope(run.kind, of_key(run.master_key_id), run.only_versions)


def scope(kind: str, versions: Sequence[KeyVersion], only: Iterable[int] = ()) -> Scope:
    """Return what is moved of a master key with these versions.

    Raises:
        MasterKeyNotFound: it has no version of one of the numbers.
    """
    numbers = {version.number for version in versions}
    unknown = sorted(set(only) - numbers)
    if unknown:
        raise MasterKeyNotFound(
            f"The master key {versions[0].key_alias or versions[0].key_id} has no version "
            f"{unknown[0]}; it has {', '.join(map(str, sorted(numbers)))}."
        )
    return Scope(kind, versions, frozenset(only))


def chosen_columns(fields: Iterable[str] = (), database: str = "") -> list[Column]:
    """Return the columns of the encrypted fields that are named, or of all, in every schema.

    Arguments are those of `declared_columns`.

    Raises:
        NoSuchField: no encrypted field has such a name.
        CensusFailed: a database cannot be looked at.
    """
    columns = tables_of(declared_columns(fields, database))
    return [column for column in columns if _can_be_written(column.relation)]


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
        if database or not _is_replica(column.database)
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


def column_of(place: RotationPlace) -> Column:
    """Return the column that a place of a run tells of.

    Raises:
        NoSuchField: the model or its field is not there any more, or the schema is not.
        Error: the database cannot be looked at.
    """
    named = (each for each in encrypted_columns(place.database) if str(each) == str(place))
    for column in located(named):
        if (column.relation.schema or "") == place.schema:
            return column
    where = f"the schema {place.schema!r} of the database" if place.schema else "the database"
    raise NoSuchField(
        f"{place} is not an encrypted field in {where} {place.database!r} any more. Cancel the "
        "run and start another."
    )


def _can_be_written(relation: Relation) -> bool:
    """Whether values are moved there, rather than in the tables that it shows the rows of.

    A view that a model names may be the one way to write its rows.
    """
    if relation.kind is Kind.VIEW:
        return relation.is_visible
    return relation.kind is not Kind.MATERIALIZED_VIEW


def _is_replica(database: str) -> bool:
    """Whether settings say so, as Django has them say it for tests; routers say it better."""
    return bool(connections[database].settings_dict["TEST"].get("MIRROR"))


def _names(column: Column) -> set[str]:
    return {str(column).lower(), column.model._meta.label_lower}
