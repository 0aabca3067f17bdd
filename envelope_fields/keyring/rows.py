"""Key versions as the database has them, always read from where keys are written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DatabaseError, connections
from django.db.models import Q
from django.db.transaction import TransactionManagementError

from envelope_fields.conf import configuration
from envelope_fields.crypto.context import version_context
from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.models import (
    DEFAULT_ALIAS,
    AuditKey,
    KeyState,
    KeyUsage,
    MasterKeyVersion,
)
from envelope_fields.policy import KeyVersionState

# Columns of migration 0001 alone: values are read and written while later ones are applied.
_COLUMNS = (
    "version_id", "number", "state", "master_key_id", "master_key__alias", "master_key__state",
    "master_key__usage", "wrapped_material", "root_key",
)  # fmt: skip


class KeyRow(NamedTuple):
    """A key version and its key: their state, and the material as the root key wrapped it."""

    state: KeyVersionState
    usage: str
    wrapped_material: bytes
    root_key: str

    @property
    def context(self) -> bytes:
        """What the root key bound the material to."""
        state = self.state
        return version_context(state.key_id, state.version_id, state.number, self.usage)


def with_version_id(version_id: bytes) -> KeyRow:
    """Return the version that an envelope names.

    Raises:
        MasterKeyNotFound: there is none.
        MasterKeyUnusable: the database could not be read.
    """
    row = _newest(version_id=version_id)
    if row is None:
        raise no_version(version_id)
    return row


def no_version(version_id: bytes) -> MasterKeyNotFound:
    """Return the error for a version that an envelope names and no row has."""
    return MasterKeyNotFound(
        f"No master key version has the id {version_id.hex()}: its row is not in the database "
        f"{configuration().database!r}. Restore it from a backup of the keys."
    )


def version_ids() -> set[bytes]:
    """Return the ids of all versions.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    database = configuration().database
    with explained(database):
        found = MasterKeyVersion.objects.using(database).values_list("version_id", flat=True)
        return {bytes(version_id) for version_id in found}


def current_version(key: str | UUID) -> KeyRow:
    """Return the current version of a master key given by alias or id; errors as above."""
    return _of_id(key) if isinstance(key, UUID) else _of_alias(key)


def of_audit_key(key: AuditKey) -> KeyRow:
    """Return the key of the audit trail as if it were a version of a master key of its own."""
    state = KeyVersionState(
        bytes(key.version_id), key.number, KeyState.ENABLED, key.pk, None, KeyState.ENABLED
    )
    return KeyRow(state, KeyUsage.GENERATE_VERIFY_MAC, bytes(key.wrapped_material), key.root_key)


def lock_for_writing(using: str | None) -> None:
    """Let a transaction on SQLite begin with a write, where a value is written in it.

    SQLite lets none write that has read before another one wrote; a first write waits its turn.
    """
    connection = connections[configuration().database]
    if connection.vendor == "sqlite" and connection.in_atomic_block and using == connection.alias:
        table = connection.ops.quote_name(MasterKeyVersion._meta.db_table)
        with explained(connection.alias), connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET number = number WHERE 0")  # noqa: S608 - quoted


def _of_alias(alias: str) -> KeyRow:
    row = _newest(master_key__alias=alias)
    if row is None or row.state.alias != alias:  # a database may compare without case
        hint = ", or run `python manage.py migrate`." if alias == DEFAULT_ALIAS else "."
        raise MasterKeyNotFound(
            f"No master key has the alias {alias!r} in the database {configuration().database!r}. "
            f"Make it with `python manage.py create_master_key`{hint}"
        )
    return row


def _of_id(key_id: UUID) -> KeyRow:
    row = _newest(master_key_id=key_id)
    if row is None:
        raise MasterKeyNotFound(
            f"No master key has the id {key_id} in the database {configuration().database!r}."
        )
    return row


def _newest(**which: Any) -> KeyRow | None:
    """Read the version with the highest number, which is the current one, of those that match."""
    database = configuration().database
    rows = MasterKeyVersion.objects.using(database).filter(**which).order_by("-number")
    with explained(database):
        columns = rows.values_list(*_COLUMNS).first()
    return None if columns is None else _row(*columns)


def matching(which: Q) -> list[KeyRow]:
    """Return all versions that match, those with higher numbers later; errors as above."""
    database = configuration().database
    rows = MasterKeyVersion.objects.using(database).filter(which).order_by("number")
    with explained(database):
        return [_row(*columns) for columns in rows.values_list(*_COLUMNS)]


def with_version_ids(version_ids: Collection[bytes]) -> list[KeyRow]:
    """Return those of some versions that there are; errors as above."""
    return matching(Q(version_id__in=version_ids))


def current_versions(key_ids: Collection[UUID]) -> list[KeyRow]:
    """Return the current version of each of some master keys, as `current_version` does."""
    newest = {row.state.key_id: row for row in matching(Q(master_key__in=key_ids))}
    return list(newest.values())


def _row(version_id: Any, number: Any, state: Any, key_id: Any, *rest: Any) -> KeyRow:
    alias, key_state, usage, wrapped, root_key = rest
    known = KeyVersionState(bytes(version_id), number, state, key_id, alias, key_state)
    return KeyRow(known, usage, bytes(wrapped), root_key)


@contextmanager
def explained(database: str) -> Iterator[None]:
    """Raise what a database raises as `MasterKeyUnusable`."""
    try:
        yield
    except TransactionManagementError:
        raise
    except DatabaseError as error:
        raise MasterKeyUnusable(
            f"Master keys could not be read from the database {database!r} "
            f"({type(error).__name__}). Is it reachable, and migrated with "
            "`python manage.py migrate`?"
        ) from error
