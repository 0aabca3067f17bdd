"""Keys that are made on demand: when the first value is to be written under them.

Such a key had better outlive a rollback: then no value and no cache is ever left without it, other
requests do not wait for this one to end, and values may go anywhere. So it is made in an autonomous
transaction, where there can be one; otherwise it belongs to the transaction of the value, with all
that law 3 says about that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import DEFAULT_DB_ALIAS, OperationalError

from envelope_fields import key_changes
from envelope_fields.conf import configuration
from envelope_fields.databases import transactions
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import snapshots
from envelope_fields.lifecycle.aliases import AliasTaken
from envelope_fields.lifecycle.creation import create_master_key
from envelope_fields.policy import APPLICATION


def make(alias: str, using: str, **attributes: Any) -> None:
    """Make a master key for a value that goes to the database `using`, or find that it is made.

    The application makes it, on whose behalf the value may be written.

    Args:
        alias: of the key.
        using: the database of the value.
        **attributes: as for `create_master_key`.

    Raises:
        MasterKeyUnusable: it cannot be made inside this transaction.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """

    def create() -> None:
        with suppress(AliasTaken):  # another process was faster
            create_master_key(alias, actor=APPLICATION, **attributes)

    database = configuration().database
    if not transactions.in_transaction(database):
        create()
    elif not _made_beside(create, database):
        _refuse_to_lose(alias, using, database)
        create()


def _made_beside(create: Any, database: str) -> bool:
    """Make the key beside this thread's transaction, if that is possible and would be seen in it.

    A transaction that has changed keys itself holds locks that the autonomous one would wait for;
    one that sees a snapshot would not see the key.
    """
    if not transactions.has_autonomous(database) or key_changes.uncommitted() or snapshots.table():
        return False
    try:
        transactions.autonomous(create, database)
    except OperationalError:  # no lock, or no more connections
        return False
    return True


def _refuse_to_lose(alias: str, using: str, database: str) -> None:
    """Refuse a key that a rollback would take away from a value that stays."""
    if using != database or database != DEFAULT_DB_ALIAS:
        raise MasterKeyUnusable(
            f"No master key has the alias {alias!r}, and none can be made inside this transaction "
            f"of the database {database!r}: a rollback would take it away from a value that stays. "
            "Make it before the transaction begins: the key 'default' with `python manage.py "
            "migrate`, one of a tenant with the create() of the field's TenantKey."
        )
