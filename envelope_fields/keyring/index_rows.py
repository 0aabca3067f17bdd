"""Blind indexes as the database has them: how far one is, and what its values are under."""

from typing import NamedTuple
from uuid import UUID

from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import rows
from envelope_fields.models import BlindIndex, BlindIndexKey, key_changes
from envelope_fields.models.indexes import made_id
from envelope_fields.policy import KeyVersionState


class IndexRow(NamedTuple):
    """How far an index is, and what its values were normalised with; see `BlindIndex`."""

    state: str
    name: str
    normalizer: str
    normalizer_version: int
    fingerprint: str


def index_row(label: str) -> IndexRow | None:
    """Return what is known of an index, or None where nothing is.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    found = BlindIndex.objects.using(configuration().database).filter(label=label)
    with rows.explained(found.db):
        columns = found.values_list(*IndexRow._fields).first()
    return None if columns is None else IndexRow(*columns)


def pinned_version(name: str, key: str | UUID) -> rows.KeyRow | None:
    """Return the version of a search key that an index is pinned to, or None where it is to none.

    Args:
        name: of the index; see `BlindIndex`.
        key: the search key, by its alias or its id.

    Raises:
        MasterKeyUnusable: the database could not be read.
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
    """Return if what is written under a pin can only vanish together with it.

    Args:
        name: of the index.
        version: what it is pinned to.
        using: the database that the value goes to.

    Raises:
        MasterKeyUnusable: the pin or the version is not committed, and the value goes to another
            database.
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
