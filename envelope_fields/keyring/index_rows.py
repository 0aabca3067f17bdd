"""Blind indexes as they are declared, and as the database has them: how far, and under what."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from envelope_fields import databases
from envelope_fields.conf import configuration
from envelope_fields.crypto.blind_index import IndexDomain
from envelope_fields.exceptions import IndexNotBegun, IndexNotReady, MasterKeyUnusable
from envelope_fields.keyring import rows
from envelope_fields.models import BlindIndex, BlindIndexKey, IndexState, KeyCacheBound, key_changes
from envelope_fields.models.indexes import made_id
from envelope_fields.models.state_changes import committed_at
from envelope_fields.policy import KeyVersionState


class IndexSource(NamedTuple):
    """An encrypted field that an index is made of."""

    # What its values are bound to, and were before: a field that is renamed is the same.
    labels: frozenset[str]
    path: str = ""  # to a value in its JSON; empty for all of it
    type: str = ""  # of the values; empty where that is not known, or nothing depends on it

    def is_same(self, other: IndexSource) -> bool:
        """Whether an index of the one goes on as one of the other."""
        types = {self.type, other.type} - {""}
        return self.path == other.path and bool(self.labels & other.labels) and len(types) < 2

    def __str__(self) -> str:
        path = f", at {self.path}" if self.path else ""
        return f"{min(self.labels)}{path}{f' ({self.type})' if self.type else ''}"


class IndexColumn(NamedTuple):
    """The column of a blind index."""

    label: str  # where it is: `app_label.model.field` in lower case
    domain: IndexDomain  # what its values are MACed for
    fingerprint: str  # of what its values depend on beside its name
    beside: frozenset[str] = frozenset()  # the labels of the declared indexes of the same table
    sources: tuple[IndexSource, ...] = ()  # what its values are made of, in the order of its fields

    @property
    def name(self) -> str:
        """What its values are pinned by: its kind, and its label or the name that it shares."""
        return f"{self.domain.kind}:{self.domain.name}"


class IndexRow(NamedTuple):
    """How far an index is, and what its values were normalised with; see `BlindIndex`."""

    state: str
    name: str
    normalizer: str
    normalizer_version: int
    fingerprint: str
    # The labels of indexes that every process has to write that writes this one: those that replace
    # it, from `required_at` on, and the one that it replaces, until no process writes that.
    beside: tuple[str, ...] = ()
    is_closed: bool = False  # nothing is written in it any more, since no process asks it
    sources: tuple[IndexSource, ...] = ()  # what its values are made of; empty if not known


def index_row(label: str) -> IndexRow | None:
    """Return what is known of an index, or None where nothing is.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    begun = BlindIndex.objects.using(configuration().database)
    with rows.explained(begun.db):
        found = {row.label: row for row in begun.filter(Q(label=label) | Q(replaces=label))}
        row = found.pop(label, None)
        if row is None:
            return None
        if row.replaces:
            found |= {each.label: each for each in begun.filter(label=row.replaces)}
        beside = [each.label for each in found.values() if is_written_with(each, row)]
        is_closed = row.state == IndexState.RETIRED and closes_at(row) <= databases.now()
    return IndexRow(
        row.state, row.name, row.normalizer, row.normalizer_version, row.fingerprint,
        tuple(sorted(beside)), is_closed, kept_sources(row),
    )  # fmt: skip


def is_written_with(other: BlindIndex, row: BlindIndex) -> bool:
    """Whether a build that writes an index has to write another one, too; see `IndexRow`."""
    if other.replaces == row.label:
        return other.required_at is not None
    if other.label != row.replaces:
        return False
    return other.state != IndexState.RETIRED or unwritten_from(other) > databases.now()


def closes_at(retired: BlindIndex) -> datetime:
    """Return from when on no process asks an index that is retired: then none needs to write it.

    Until then, one that does not know yet has to find what others write.
    """
    return committed_at(retired.state_changed_at) + timedelta(seconds=_longest())


def unwritten_from(retired: BlindIndex) -> datetime:
    """Return from when on no process writes an index that is retired.

    Until then, what a build leaves in it that does not know it could be in the way of another one.
    """
    return committed_at(retired.state_changed_at) + 2 * timedelta(seconds=_longest())


def _longest() -> float:
    """Return for how many seconds any process may go by what it knows of an index."""
    row = KeyCacheBound.objects.using(configuration().database).first()
    known = [] if row is None else [row.seconds, row.seconds_before]
    return max([*known, configuration().key_cache_seconds])


def require_beside(label: str, declared: Container[str], row: IndexRow | None) -> None:
    """Return if this build writes all that other builds look for in the place of an index.

    Raises:
        IndexNotReady: it declares none of a label that others look for: rows would be missing.
    """
    lacking = [each for each in (row.beside if row else ()) if each not in declared]
    if lacking:
        raise IndexNotReady(
            f"This build writes the blind index {label}, and does not know "
            f"{' and '.join(lacking)}, which other builds look in: what it writes would be missing "
            "there. Deploy a build that has both, or go back, as the how-to guide about rotating "
            "a search key says."
        )


def require_reading(label: str, row: IndexRow | None) -> None:
    """Return if lookups may ask an index.

    Raises:
        IndexNotBegun, IndexNotReady: they may not.
    """
    if row is None:
        raise IndexNotBegun(
            f"The blind index {label} is not begun: no value was written through it yet, and rows "
            f"may be there. Fill it with `python manage.py rebuild_indexes {label}`."
        )
    if row.state != IndexState.READING:
        raise IndexNotReady(
            f"The blind index {label} is {IndexState(row.state).label}, so rows may be missing in "
            "it, and no lookup asks it. `python manage.py rebuild_indexes "
            f"{label} --to reading` brings it further, and says what is in the way."
        )


def require_same(column: IndexColumn, row: IndexRow) -> None:
    """Return if an index is what it was begun as.

    Raises:
        IndexNotReady: its values would be other ones now.
    """
    changed = changes(column, row, row.sources)
    if changed:
        raise IndexNotReady(
            f"The blind index {column.label} was begun otherwise than it is declared now: "
            f"{'; '.join(changed)}. It would neither find its rows nor keep them unique. Put that "
            "back, and add an index of another name: `python manage.py check --database "
            f"{configuration().database}` has the line for it."
        )


def changes(
    column: IndexColumn, row: IndexRow | BlindIndex, sources: Sequence[IndexSource]
) -> list[str]:
    """Return what has changed in the declaration of an index since it was begun, for people.

    What it was made of then, its `sources`, may be empty: not known.
    """
    domain, found = column.domain, []
    if sources and not are_same(column.sources, sources):
        found.append(f"it is of {_listed(column.sources)}, and was of {_listed(sources)}")
    if column.name != row.name:
        found.append(f"its values are made for {column.name}, and were made for {row.name}")
    now = domain.normalizer, domain.normalizer_version
    if now != (row.normalizer, row.normalizer_version):
        found.append(
            f"its normalizer is {now[0]!r}, version {now[1]}, and was {row.normalizer!r}, version "
            f"{row.normalizer_version}"
        )
    elif column.fingerprint != row.fingerprint:
        found.append(
            f"its scope=, its path or the tenants' keys are others, or its normalizer {now[0]!r} "
            "makes something else of values, under the same version"
        )
    return found


def _listed(sources: Iterable[IndexSource]) -> str:
    return " and ".join(map(str, sources))


def are_same(some: Sequence[IndexSource], others: Sequence[IndexSource]) -> bool:
    """Whether an index of these fields goes on as one of those."""
    pairs = zip(some, others, strict=False)
    return len(some) == len(others) and all(each.is_same(other) for each, other in pairs)


def kept_sources(row: BlindIndex) -> tuple[IndexSource, ...]:
    """Return what an index is made of, as its row has it; that it is not known, of other JSON."""
    try:
        return tuple(map(_source, row.sources))
    except (KeyError, TypeError):
        return ()


def _source(kept: dict[str, Any]) -> IndexSource:
    labels, path, kind = (kept[name] for name in IndexSource._fields)
    texts = [path, kind, *labels]
    if not labels or not isinstance(labels, list) or {*map(type, texts)} != {str}:
        raise TypeError("not a source")
    return IndexSource(frozenset(labels), path, kind)


def as_kept(sources: Iterable[IndexSource]) -> list[dict[str, Any]]:
    """Return what `kept_sources` reads."""
    return [{**each._asdict(), "labels": sorted(each.labels)} for each in sources]


def pinned_version(name: str, key: str | UUID) -> rows.KeyRow | None:
    """Return the version of a search key that an index is pinned to, or None where it is to none.

    The index has a name, as in `BlindIndex`, and the key an alias or an id. Errors as above.
    """
    pins = BlindIndexKey.objects.using(configuration().database).filter(name=name)
    by = "master_key_id" if isinstance(key, UUID) else "master_key__alias"
    with rows.explained(pins.db):
        columns = pins.filter(**{by: key}).values_list(*_COLUMNS).first()
    if columns is None:
        return None
    found = rows.row_of(*columns)
    # A database may compare without case.
    return found if key in (found.state.key_id, found.state.alias) else None


_COLUMNS = tuple(f"version__{name}" for name in rows.COLUMNS)


def refuse_uncommitted(name: str, version: KeyVersionState, using: str | None) -> None:
    """Return if what is written under the pin of an index can only vanish together with it.

    Arguments and errors are those of `rows.refuse_uncommitted`, which is asked first.
    """
    rows.refuse_uncommitted(version, using)
    if using == configuration().database or not key_changes.any_uncommitted():
        return
    if key_changes.can_vanish(made_id(name, version.version_id)):
        raise MasterKeyUnusable(
            f"Cannot write a blind index in the database {using!r}: that it is under {version} is "
            "not committed, and a rollback would leave it without a key. Do this after the "
            "transaction."
        )
