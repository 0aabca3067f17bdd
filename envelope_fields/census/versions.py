"""What the keys' database says of key versions, for counting and for moving values."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet

from envelope_fields.conf import configuration
from envelope_fields.databases import in_queries
from envelope_fields.databases.errors import says_no_table
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

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


def known_ids(version_ids: Iterable[bytes]) -> set[bytes]:
    """Return those of some ids that are of key versions with their material."""
    using, wanted = configuration().database, sorted(set(version_ids))
    rows = MasterKeyVersion.objects.using(using).exclude(state=KeyState.DESTROYED)
    rows = rows.exclude(master_key__state=KeyState.DESTROYED).order_by()
    found: set[bytes] = set()
    if not wanted:
        return found
    try:
        with transaction.atomic(using=using):
            for some in in_queries(wanted):
                there = rows.filter(version_id__in=some).values_list("version_id", flat=True)
                found.update(map(bytes, there))
    except DatabaseError as error:
        if not says_no_table(error):
            raise
    return found


def _chunks(keys: Sequence[Key]) -> Iterator[Q]:
    """Yield conditions that find the keys, few enough at a time for every database."""
    if not keys:
        yield Q()
    for some in in_queries(keys):
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
