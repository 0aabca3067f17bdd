"""What the keys' database says of key versions, for those who count and move values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import DatabaseError, transaction

from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.fields.tables import says_no_table
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

Key = MasterKey | MasterKeyVersion | UUID | str


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A key version that the keys' database knows.

    Attributes:
        version_id: the 8 bytes by which envelopes name it.
        number: its number; the highest of its key that was opened once is current.
        state: its own state, or where that is enabled, the state of its key.
        key_id, key_alias: its master key; the alias is None once the key is destroyed.
        is_current: whether values are written under it.
    """

    version_id: bytes
    number: int
    state: str
    key_id: UUID
    key_alias: str | None
    is_current: bool


def key_versions() -> list[KeyVersion]:
    """Return every key version, also those that nothing is stored under, key by key."""
    using = configuration().database
    rows = MasterKeyVersion.objects.using(using).values_list(
        *("version_id", "number", "state", "opened_at"),
        *("master_key__state", "master_key_id", "master_key__alias"),
    )
    try:
        with transaction.atomic(using=using):
            found = list(rows.order_by("master_key__alias", "master_key_id", "number"))
    except DatabaseError as error:
        if not says_no_table(error):
            raise
        return []  # not migrated yet; envelopes that are there all the same show as unknown
    current = {key_id: number for _, number, _, opened_at, _, key_id, _ in found if opened_at}
    return [
        KeyVersion(
            version_id=bytes(version_id),
            number=number,
            state=key_state if state == KeyState.ENABLED else state,
            key_id=key_id,
            key_alias=alias,
            is_current=number == current.get(key_id),
        )
        for version_id, number, state, _, key_state, key_id, alias in found
    ]


def of_key(key: Key, versions: Iterable[KeyVersion]) -> list[KeyVersion]:
    """Pick the versions of a master key, or the one that is meant.

    Raises:
        MasterKeyNotFound: none of them is.
    """
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
