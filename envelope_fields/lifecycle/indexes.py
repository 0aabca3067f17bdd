"""Blind indexes: begun on demand, each pinned to a version of its search key.

An index is pinned to the version of its search key that is current when it is begun. One whose
tables are empty then is asked by lookups at once; any other begins by being filled.
"""

from collections.abc import Container, Sequence
from contextlib import suppress
from typing import Any

from django.db import connections

from envelope_fields import audit, models
from envelope_fields.census.columns import CensusFailed, index_columns
from envelope_fields.census.indexes import ColumnNotThere, index_has_rows
from envelope_fields.conf import configuration
from envelope_fields.databases import is_test_run
from envelope_fields.exceptions import IndexNotReady, MasterKeyUnusable
from envelope_fields.fields.index import macs
from envelope_fields.fields.keys import RowKey
from envelope_fields.keyring import index_rows
from envelope_fields.keyring.index_rows import IndexColumn
from envelope_fields.lifecycle import context, index_triggers, on_demand
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models.state_changes import begin_change
from envelope_fields.policy import APPLICATION

_DESCRIPTION = "Makes the MACs of blind indexes that name no search key of their own."


def connect() -> None:
    """Have indexes begun where they are needed."""
    macs.begin_by(begin_index)


def repair(*, using: str, **_: Any) -> None:
    """Begin the indexes of a database after each `migrate` and `flush`: of `post_migrate`.

    So they are begun before there are rows, and a test finds them begun. One whose search key
    follows from the row is begun when one is written.
    """
    fields: list[Any] = [column.field for column in index_columns(using)]
    declared = [index for index in fields if isinstance(index.key, str)]
    if not fields or not _has_tables():
        return
    # Until a test run has made the others, too, their names are those of databases that are in use.
    databases = [using] if is_test_run() else None
    begun = _begun()
    for index in fields:
        # Another migration adds the column; or another database is not there yet, as while those
        # of tests are made. It begins when it is needed.
        with suppress(ColumnNotThere, CensusFailed):
            if index.field_path in begun:
                _keep_up(index, begun[index.field_path], databases)
            elif index in declared:
                begin_index(index, index.key, using, databases)
    begun = _begun()
    for index in fields:
        row = begun.get(index.field_path)
        if row is not None and row.state in index_triggers.STANDING:
            index_triggers.settle(index, row.state, using)


def _keep_up(index: Any, row: models.BlindIndex, databases: Container[str] | None) -> None:
    """Keep what the fields of an index are called now; or begin it anew, if it has no rows.

    Then it begins by being filled: other builds may write what it was before.
    """
    column, kept = macs.column_of(index), index_rows.kept_sources(row)
    if not index_rows.changes(column, row, kept):
        _note_sources(column, kept, row)
    elif row.state != models.IndexState.RETIRED and not index_has_rows(index, databases):
        with context.key_transaction() as using:
            changed = {**_begun_as(column), "state": models.IndexState.FILLING, "required_at": None}
            for name, value in {**changed, "state_changed_at": begin_change(using)}.items():
                setattr(row, name, value)
            row.save(using=using, update_fields=[*changed, "state_changed_at"])
            _record(using, column, row)


def _note_sources(
    column: IndexColumn, kept: Sequence[index_rows.IndexSource], row: models.BlindIndex
) -> None:
    """Keep what the fields of an index are called, beside what they were called."""
    pairs = zip(column.sources, kept or column.sources, strict=True)
    both = [each._replace(labels=each.labels | other.labels) for each, other in pairs]
    if row.sources != (noted := index_rows.as_kept(both)):
        row.sources = noted
        row.save(update_fields=["sources"])


def _begun() -> dict[str, models.BlindIndex]:
    return {row.label: row for row in models.BlindIndex.objects.using(configuration().database)}


def _has_tables() -> bool:
    tables = connections[configuration().database].introspection.table_names()
    return models.BlindIndexKey._meta.db_table in tables


def begin_index(
    index: Any, alias: str, using: str, databases: Container[str] | None = None
) -> None:
    """Begin an index, or begin it with one more search key; where it is begun, do nothing.

    Args:
        index: the field.
        alias: of the search key, which is made where it is not there.
        using: the database of the row that it is needed for.
        databases: the aliases of those that may have rows of it; None for all.

    Raises:
        MasterKeyUnusable: the usage of the key is another one, no version of it was opened yet, or
            it cannot be begun inside this transaction.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    for newer in index.replacing:
        if newer.only_alias is not None:  # before this one: a new table is read by both at once
            begin_index(newer, newer.only_alias, using, databases)
    _make_key(index, alias, using)

    def create() -> None:
        _begin(index, alias, databases)

    on_demand.made_to_last(create, f"The blind index {index.field_path} cannot be begun", using)


def _make_key(index: Any, alias: str, using: str) -> None:
    database = configuration().database
    if models.MasterKey.objects.using(database).filter(alias=alias).exists():
        return
    if isinstance(index.key, RowKey):
        index.key.make_search_key(alias, using)
        return
    on_demand.make(
        alias,
        using,
        description=_DESCRIPTION,
        managed_by=models.KeyManager.APPLICATION,
        usage=models.KeyUsage.GENERATE_VERIFY_MAC,
    )


def _begin(index: Any, alias: str, databases: Container[str] | None) -> None:
    column = macs.column_of(index)
    # Before the transaction: it may take a while, and on SQLite a transaction that has read does
    # not write any more.
    is_empty = not index_has_rows(index, databases)
    # Its lock lets two processes that begin with the same key follow each other.
    with context.locking(alias) as (using, key, _version):
        version = _version_to_pin(key)
        begun = _ensure_index(column, index, is_empty, using)
        if begun is None:
            _refuse_other_key(column, index, key, using)
        if _ensure_pin(column, key, version, using) or begun:
            _record(using, column, begun, key=key, version=version)


def _version_to_pin(key: models.MasterKey) -> models.MasterKeyVersion:
    """Return the version of a search key that an index is pinned to, or raise as `begin_index`."""
    version = key.current_version
    if key.usage != models.KeyUsage.GENERATE_VERIFY_MAC:
        raise MasterKeyUnusable(
            f"The usage of the master key {key} is {models.KeyUsage(key.usage).label!r}, and a "
            f"blind index takes one to {models.KeyUsage.GENERATE_VERIFY_MAC.label}. Name "
            "another key."
        )
    if version.opened_at is None:
        raise MasterKeyUnusable(
            f"No process has opened {version} yet. Call "
            "envelope_fields.lifecycle.open_master_key_versions() where its root key may unwrap."
        )
    return version


def _ensure_index(
    column: IndexColumn, index: Any, is_empty: bool, using: str
) -> models.BlindIndex | None:
    """Return the row of an index, where it was not there."""
    replaced = "" if index.replaced is None else index.replaced.field_path
    rows = models.BlindIndex.objects.using(using).filter(label=column.label)
    if rows.exists():
        if replaced:  # it may have been declared for one of its own
            rows.filter(replaces="").update(replaces=replaced)
        return None
    replaced = replaced or _undeclared(column, using)
    row = models.BlindIndex(label=column.label, replaces=replaced, **_begun_as(column))
    if is_empty and not _is_written_alone(replaced, using):
        row.state = models.IndexState.READING
        row.required_at = begin_change(using) if replaced else None
    row.save(using=using, force_insert=True)
    return row


def _begun_as(column: IndexColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "normalizer": column.domain.normalizer,
        "normalizer_version": column.domain.normalizer_version,
        "fingerprint": column.fingerprint,
        "sources": index_rows.as_kept(column.sources),
    }


def _undeclared(column: IndexColumn, using: str) -> str:
    """Return where an index is that the model has no more, and lookups of other builds may ask.

    A new one beside it comes in its place, where a deployment with both was skipped.
    """
    table, _, _ = column.label.rpartition(".")
    begun = models.BlindIndex.objects.using(using).filter(label__startswith=f"{table}.")
    others = begun.exclude(state=models.IndexState.RETIRED).exclude(label__in=column.beside)
    return others.order_by("label").values_list("label", flat=True).first() or ""


def _is_written_alone(replaced: str, using: str) -> bool:
    """Whether builds may be about that write the index which this one replaces, and not this one.

    They may put rows into a table that is empty now.
    """
    begun = models.BlindIndex.objects.using(using).filter(label=replaced)
    return bool(replaced) and begun.exists()


def _refuse_other_key(column: IndexColumn, index: Any, key: models.MasterKey, using: str) -> None:
    """Raise `IndexNotReady` if an index that has one search key is to go on with another one."""
    pins = models.BlindIndexKey.objects.using(using).filter(name=column.name)
    if index.only_alias is None or pins.filter(master_key=key).exists():
        return
    if pins.exists():
        raise IndexNotReady(
            f"The blind index {column.label} was begun with another search key than {key}: its "
            "rows would neither be found nor kept unique. Put that back, and add an index of "
            "another name that `replaces` this one."
        )


def _ensure_pin(
    column: IndexColumn, key: models.MasterKey, version: models.MasterKeyVersion, using: str
) -> bool:
    """Pin an index to a version; return whether it was to none of the key."""
    pins = models.BlindIndexKey.objects.using(using)
    if pins.filter(name=column.name, master_key=key).exists():
        return False
    pin = models.BlindIndexKey(name=column.name, master_key=key, version=version)
    pin.save(using=using, force_insert=True)
    return True


def _record(using: str, column: IndexColumn, begun: models.BlindIndex | None, **of: Any) -> None:
    after: dict[str, Any] = {"index": column.label, "name": column.name}
    if begun is not None:
        normalizer = f"{begun.normalizer} {begun.normalizer_version}"
        after |= {"state": str(begun.state), "normalizer": normalizer}
    audit.record(
        Operation.BEGIN_INDEX, actor=APPLICATION, using=using, before={}, after=after, **of
    )
