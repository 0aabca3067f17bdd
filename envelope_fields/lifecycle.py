"""The rules between the states of master keys: who becomes what, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.models import F, Max

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

Key = MasterKey | UUID | str


class AliasTaken(EnvelopeError):
    """Another master key has this alias (KMS: `AlreadyExistsException`)."""


def create_master_key(alias: str, *, description: str = "", actor: Any = None) -> MasterKey:
    """Make a master key with its first version (KMS: CreateKey and CreateAlias).

    Args:
        alias: letters, digits and `/ _ . : @ -`, at most 200; what fields name in `key=`.
        description: for people.
        actor: the user on whose behalf this is done; None is the application.

    Raises:
        ValidationError: not an alias.
        AliasTaken: another key has it.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    key = MasterKey(alias=alias, description=description)
    key.clean_fields()
    version = MasterKeyVersion(**keyring.generate_version(key.id, 1, key.usage))
    # Looked up before the transaction, which writes first: SQLite lets none write that has read
    # before another one wrote.
    if MasterKey.objects.using(configuration().database).filter(alias=alias).exists():
        raise _alias_taken(alias)
    with _key_transaction() as using:
        try:
            key.save(using=using, force_insert=True)
        except IntegrityError as error:
            raise _alias_taken(alias) from error
        version.master_key = key
        version.save(using=using, force_insert=True)
    return key


def rotate_master_key(key: Key, *, actor: Any = None) -> MasterKeyVersion:
    """Make a new version of a master key, which is current from now on (KMS: RotateKeyOnDemand).

    Values stay under their versions and can be read as before.

    Args:
        key: a master key, its id or its alias.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is not enabled.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    with _key_transaction() as using:
        row = _locked(using, key)
        if row.state != KeyState.ENABLED:
            raise MasterKeyUnusable(
                f"Cannot rotate the master key {row}: it is {KeyState(row.state).label}."
            )
        number = 1 + (row.versions.using(using).aggregate(Max("number"))["number__max"] or 0)
        version = MasterKeyVersion(
            master_key=row, **keyring.generate_version(row.id, number, row.usage)
        )
        version.save(using=using, force_insert=True)
    return version


def enable(key: Key | MasterKeyVersion, *, actor: Any = None) -> None:
    """Make a disabled master key, or a disabled version of one, usable again (KMS: EnableKey).

    Doing it twice does nothing. Arguments and errors are those of `disable`.
    """
    _change_state(key, KeyState.ENABLED, allowed=(KeyState.ENABLED, KeyState.DISABLED))


def disable(key: Key | MasterKeyVersion, *, actor: Any = None) -> None:
    """Make a master key, or a version that is not current, unusable (KMS: DisableKey).

    Nothing is encrypted or decrypted under it until it is enabled: at once in this process, in
    others within `KEY_CACHE_SECONDS`. Doing it twice does nothing.

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the state does not allow it, or the version is the current one.
    """
    _change_state(key, KeyState.DISABLED, allowed=(KeyState.ENABLED, KeyState.DISABLED))


def _change_state(
    key: Key | MasterKeyVersion, state: KeyState, allowed: tuple[KeyState, ...]
) -> None:
    with _key_transaction() as using:
        row: MasterKey | MasterKeyVersion
        if isinstance(key, MasterKeyVersion):
            row = _locked_version(using, key)
        else:
            row = _locked(using, key)
        if row.state not in allowed:
            raise MasterKeyUnusable(
                f"{row} is {KeyState(row.state).label} and cannot become {state.label}."
            )
        row.state = state
        row.save(using=using, update_fields=["state"])
    if isinstance(key, MasterKey | MasterKeyVersion):
        key.state = state


@contextmanager
def _key_transaction() -> Iterator[str]:
    """Open a transaction in the keys' database and yield its alias.

    Where keys have a database of their own, no transaction around it may take the change back
    after values in another database were written under it (law 3).
    """
    using = configuration().database
    durable = using != DEFAULT_DB_ALIAS
    connection = connections[using]
    if durable and not connection.in_atomic_block and not connection.get_autocommit():
        raise MasterKeyUnusable(
            f"Keys change only in transactions of their own, and the database {using!r} has "
            "autocommit switched off. Switch it on for the change."
        )
    with transaction.atomic(using=using, durable=durable):
        yield using


def _locked(using: str, key: Key) -> MasterKey:
    """Return the row of a master key as it is now, locked until the transaction ends."""
    if isinstance(key, MasterKey):
        which: dict[str, Any] = {"pk": key.pk}
    elif isinstance(key, UUID):
        which = {"pk": key}
    elif isinstance(key, str):
        which = {"alias": key}
    else:
        raise TypeError(f"{type(key).__name__} is not a master key, nor the id or alias of one")
    rows = MasterKey.objects.using(using)
    # SQLite has no row locks: a first write takes its one lock, before anything is read.
    rows.filter(**which).update(state=F("state"))
    row = rows.select_for_update().filter(**which).first()
    if row is None or (isinstance(key, str) and row.alias != key):
        raise MasterKeyNotFound(f"There is no master key {key} in the database {using!r}.")
    return row


def _locked_version(using: str, version: MasterKeyVersion) -> MasterKeyVersion:
    key = _locked(using, version.master_key_id)
    row = key.versions.using(using).filter(pk=version.pk).first()
    if row is None:
        raise MasterKeyNotFound(f"There is no {version!r} in the database {using!r}.")
    if row.number == key.current_version.number:
        raise MasterKeyUnusable(
            f"{row} is the current one. Rotate the key first, or change the state of the key."
        )
    return row


def _alias_taken(alias: str) -> AliasTaken:
    return AliasTaken(f"Another master key has the alias {alias!r}. Choose another alias.")


__all__ = [
    "AliasTaken",
    "create_master_key",
    "disable",
    "enable",
    "rotate_master_key",
]
