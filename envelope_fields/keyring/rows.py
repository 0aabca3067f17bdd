"""Key versions and their wraps as the database has them, read from where keys are written."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections
from django.db.models import Model, Q, QuerySet

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.databases import database_of, in_queries, transactions
from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.models import AuditKey, MasterKeyVersion, key_changes
from envelope_fields.models.choices import KeyManager, KeyState, KeyUsage
from envelope_fields.models.keys import DEFAULT_ALIAS, OVERWRITTEN, FurtherWrap, stored_bytes
from envelope_fields.policy import KeyVersionState, data
from envelope_fields.policy.data import KeyPolicy

# Columns of migration 0001 alone: values are read and written while later ones are applied.
COLUMNS = (
    "version_id", "number", "state", "master_key_id", "master_key__alias", "master_key__state",
    "master_key__usage", "root_key", "wrapped_material", "wrapping_key_id",
    *(f"master_key__{name}" for name in KeyPolicy._fields),
)  # fmt: skip


class Wrap(NamedTuple):
    """The material of a key version as a root key wrapped it."""

    root_key: str  # its name in the settings
    wrapped_material: bytes
    wrapping_key_id: str  # what the root key says that it wrapped with; may be empty

    def content(self) -> dict[str, str]:
        """Return by which root key it is, and under what, as plain data."""
        return {"root_key": self.root_key, "wrapping_key_id": self.wrapping_key_id}


class KeyRow(NamedTuple):
    """A key version and its key: their state, and the material as the root key wrapped it.

    Attributes:
        state: that of both.
        usage: of the key.
        wrap: the one in the row of the version itself; see `further_wraps`.
        policy: what the key says of who may use it.
    """

    state: KeyVersionState
    usage: str
    wrap: Wrap
    policy: KeyPolicy

    @property
    def header(self) -> bytes:
        """The 9 bytes in front of every envelope under the version."""
        return layout.FORMAT_VERSION + self.state.version_id

    @property
    def context(self) -> KeyVersionContext:
        """What the root key bound the material to."""
        state = self.state
        return KeyVersionContext(state.key_id, state.version_id, state.number, self.usage)


def with_version_id(version_id: bytes, usage: KeyUsage | None = KeyUsage.ENCRYPT_DECRYPT) -> KeyRow:
    """Return the version that an envelope names, for a usage; None is any.

    Raises:
        MasterKeyNotFound: there is none.
        MasterKeyUnusable: it is for something else, or the database could not be read.
    """
    row = _newest(_versions().filter(version_id=version_id))
    if row is None:
        raise no_version(version_id)
    return _of_usage(row, usage)


def no_version(version_id: bytes) -> MasterKeyNotFound:
    """Return the error for a version that an envelope names and no row has."""
    return MasterKeyNotFound(
        f"No master key version has the id {version_id.hex()}: its row is not in the database "
        f"{configuration().database!r}. Restore it from a backup of the keys."
    )


def version_ids() -> set[bytes]:
    """Return the ids of all versions; errors as above."""
    versions = _versions()
    with explained(versions.db):
        return {bytes(version_id) for version_id in versions.values_list("version_id", flat=True)}


def current_version(key: str | UUID, usage: KeyUsage | None = KeyUsage.ENCRYPT_DECRYPT) -> KeyRow:
    """Return the current version of a key, of that alias or id: the highest that was opened once.

    Raises:
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: no version was opened yet, the key is for something else, or the database
            could not be read.
    """
    versions = _versions().filter(_which(key))
    row = _newest(versions.filter(opened_at__isnull=False))
    if row is None or key not in (row.state.alias, row.state.key_id):  # it may differ in case
        raise _none_opened(key, versions)
    return _of_usage(row, usage)


def of_audit_key(key: AuditKey) -> KeyRow:
    """Return the key of the audit trail as if it were a version of a master key of its own."""
    state = KeyVersionState(
        bytes(key.version_id), key.number, KeyState.ENABLED, key.pk, None, KeyState.ENABLED
    )
    wrap = Wrap(key.root_key, stored_bytes(key.wrapped_material), key.wrapping_key_id)
    policy = KeyPolicy(KeyManager.APPLICATION, True)
    return KeyRow(state, KeyUsage.GENERATE_VERIFY_MAC, wrap, policy)


def read_again(row: KeyRow) -> KeyRow:
    """Return a row as it is now: another root key may wrap it, or it is gone, or destroyed.

    A transaction that sees the past does not: the row is read beside it, where that is possible.
    """
    connection = connections[configuration().database]
    with explained(connection.alias):
        sees_the_past = connection.in_atomic_block and database_of(connection).sees_the_past()
    if sees_the_past and transactions.has_autonomous(connection.alias):
        with explained(connection.alias):
            return transactions.autonomous(partial(_present, row), connection.alias)
    return _present(row)


def _present(row: KeyRow) -> KeyRow:
    audit_keys = AuditKey.objects.using(configuration().database)
    if row.state.alias is None:
        with explained(audit_keys.db):
            key = audit_keys.filter(pk=row.state.key_id).first()
        if key is None:
            raise no_version(row.state.version_id)
        return of_audit_key(key)
    present = with_version_id(row.state.version_id, usage=None)
    if KeyState.DESTROYED in (present.state.state, present.state.key_state):
        raise MasterKeyNotFound(f"{present.state} is destroyed.")
    return present


def refuse_uncommitted(version: KeyVersionState, using: str | None) -> None:
    """Return if what is written under a version can only vanish together with it.

    Args:
        version: the key version.
        using: the database that the value goes to; None when it goes to no database of the project,
            or into a table without transactions.

    Raises:
        MasterKeyUnusable: the version is not committed, and the value does not go to its database.
    """
    if using == configuration().database or not key_changes.any_uncommitted():
        return
    if key_changes.can_vanish(version.version_id):
        where = "outside of transactions" if using is None else f"in the database {using!r}"
        raise MasterKeyUnusable(
            f"Cannot encrypt for use {where}: {version} is not committed, and a rollback would "
            "leave the value without its key. Do this after the transaction."
        )


def rolled_back_with(model: type[Model], using: str | None) -> str | None:
    """Return the database whose rollback takes a value of a model back; None where none does.

    As long as no key is changed, nothing depends on that, and it is not asked.
    """
    if not key_changes.any_uncommitted() or using is None:
        return using
    return using if transactions.is_rolled_back(model._meta.db_table, using) else None


def lock_for_writing(using: str | None) -> None:
    """Let a transaction on SQLite begin with a write, where a value is written in it.

    SQLite lets none write that has read before another one wrote; a first write waits its turn.
    """
    connection = connections[configuration().database]
    if connection.in_atomic_block and using == connection.alias:
        with explained(connection.alias):
            database_of(connection).lock_for_writing(MasterKeyVersion._meta.db_table)


def _which(key: str | UUID) -> Q:
    return Q(master_key_id=key) if isinstance(key, UUID) else Q(master_key__alias=key)


def _none_opened(
    key: str | UUID, versions: QuerySet[MasterKeyVersion]
) -> MasterKeyNotFound | MasterKeyUnusable:
    """Return why a key has no current version."""
    # Not one that was made and opened since: that key was not there.
    row = _newest(versions.filter(opened_at__isnull=True))
    database = configuration().database
    if row is not None and key in (row.state.alias, row.state.key_id):
        return MasterKeyUnusable(
            f"Nothing can be written under {row.state} yet: no process whose root key may unwrap "
            f"has opened it. Call envelope_fields.lifecycle.open_master_key_versions() where the "
            f"root key {row.wrap.root_key!r} may unwrap."
        )
    if isinstance(key, UUID):
        return MasterKeyNotFound(f"No master key has the id {key} in the database {database!r}.")
    hint = ", or run `python manage.py migrate`." if key == DEFAULT_ALIAS else "."
    return MasterKeyNotFound(
        f"No master key has the alias {key!r} in the database {database!r}. "
        f"Make it with `python manage.py create_master_key`{hint}"
    )


def _of_usage(row: KeyRow, usage: KeyUsage | None) -> KeyRow:
    """Return a row, if its key is for what it is needed for."""
    if usage is None or row.usage == usage:
        return row
    raise MasterKeyUnusable(
        f"The usage of {row.state} is {KeyUsage(row.usage).label!r}, and it is needed to "
        f"{usage.label}. No key serves two usages: name another one."
    )


def _versions() -> QuerySet[MasterKeyVersion]:
    return MasterKeyVersion.objects.using(configuration().database)


def _newest(versions: QuerySet[MasterKeyVersion]) -> KeyRow | None:
    """Read the version with the highest number."""
    with explained(versions.db):
        columns = versions.order_by("-number").values_list(*COLUMNS).first()
    return None if columns is None else row_of(*columns)


def matching(which: Q) -> list[KeyRow]:
    """Return all versions that match, those with higher numbers later; errors as above."""
    versions = _versions().filter(which).order_by("number")
    with explained(versions.db):
        return [row_of(*columns) for columns in versions.values_list(*COLUMNS)]


def with_version_ids(version_ids: Collection[bytes]) -> list[KeyRow]:
    """Return those of some versions that there are, for values; errors as above."""
    return _for_values(matching(Q(version_id__in=version_ids)))


def current_versions(keys: Collection[str | UUID]) -> dict[str | UUID, KeyRow]:
    """Return the current version, for values, of each of some keys, of these aliases or ids."""
    ids = {key for key in keys if isinstance(key, UUID)}
    which = Q(master_key_id__in=ids) | Q(master_key__alias__in={*keys} - ids)
    found = _for_values(matching(which & Q(opened_at__isnull=False)))
    named = {name: row for row in found for name in (row.state.key_id, row.state.alias) if name}
    return {key: named[key] for key in keys if key in named}


def _for_values(found: list[KeyRow]) -> list[KeyRow]:
    return [row for row in found if row.usage == KeyUsage.ENCRYPT_DECRYPT]


def row_of(version_id: Any, number: Any, state: Any, key_id: Any, *rest: Any) -> KeyRow:
    """Return what `COLUMNS` of a version say."""
    alias, key_state, usage, root_key, wrapped, wrapping_key_id, *policy = rest
    known = KeyVersionState(bytes(version_id), number, state, key_id, alias, key_state)
    wrap = Wrap(root_key, stored_bytes(wrapped), wrapping_key_id)
    return KeyRow(known, usage, wrap, KeyPolicy(*policy))


def further_wraps(version_id: bytes) -> list[Wrap]:
    """Return what `further_wraps_of` does, for one version."""
    return further_wraps_of([version_id]).get(version_id, [])


def further_wraps_of(version_ids: Sequence[bytes]) -> dict[bytes, list[Wrap]]:
    """Return the wraps of versions by other root keys than that of their rows, by their ids.

    The first that was made comes first; versions that have none are left out. Errors as above.
    """
    wraps = FurtherWrap.objects.using(configuration().database)
    there = wraps.exclude(wrapped_material=OVERWRITTEN).order_by("pk")
    columns, found = there.values_list("version_id", *Wrap._fields), defaultdict(list)
    with explained(wraps.db):
        for ids in in_queries(version_ids):
            for version_id, root_key, wrapped, key_id in columns.filter(version_id__in=ids):
                wrap = Wrap(root_key, stored_bytes(wrapped), key_id)
                found[bytes(version_id)].append(wrap)
    return dict(found)


def explained(using: str) -> AbstractContextManager[None]:
    """Raise what a database raises as `MasterKeyUnusable`."""
    return data.explained("Master keys", using, so="")
