"""Keys that are made on demand, when the first value is to be written under them.

Such a key had better outlive a rollback: then no value and no cache is ever left without it, other
requests do not wait for this one to end, and values may go anywhere. So it is made in an autonomous
transaction, where there can be one; otherwise it belongs to the transaction of the value, with all
that law 3 says about that.

The default key is made by migration `0002`, and made again when it is gone. A flush takes it away.
`post_migrate` comes after most, and a key is made there before the receivers of other apps, which
may need it; some test cases flush and send nothing, so that the key is made when a field needs it.
"""

import uuid
from contextlib import suppress
from functools import partial
from typing import Any

from django.apps import apps as installed_apps
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    IntegrityError,
    OperationalError,
    connections,
    router,
)
from django.db.models import Model, QuerySet
from django.db.transaction import TransactionManagementError, atomic

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.databases import errors, transactions
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.fields.keys import make_default_by
from envelope_fields.keyring.cache import table_of_transaction
from envelope_fields.lifecycle.aliases import AliasTaken
from envelope_fields.lifecycle.master_keys import create_master_key
from envelope_fields.models import DEFAULT_ALIAS, KeyManager, KeyUsage, key_changes
from envelope_fields.policy import APPLICATION

_DESCRIPTION = "Serves every encrypted field that names no key of its own."


def create_default_key(apps: Any, using: str) -> None:
    """Make the master key with the alias `default` in the database `using`, if it is not there.

    Migration `0002` comes here, too: the models may be those of any later state, and have more or
    fewer columns than those of today.

    Args:
        apps: the registry to take the models from: in a migration, that of its state.
        using: the database that is being migrated; nothing happens unless keys live there.

    Raises:
        ImproperlyConfigured: no usable root key; the message says which command makes one.
    """
    key_model = apps.get_model("envelope_fields", "MasterKey")
    version_model = apps.get_model("envelope_fields", "MasterKeyVersion")
    wrap_model = apps.get_model("envelope_fields", "FurtherWrap")
    if using != configuration().database or not router.allow_migrate_model(using, key_model):
        return
    if _is_there(key_model, using):
        return
    key_id = uuid.uuid4()
    made = keyring.generate_version(key_id, 1, KeyUsage.ENCRYPT_DECRYPT)
    key = _row(
        key_model,
        id=key_id,
        alias=DEFAULT_ALIAS,
        description=_DESCRIPTION,
        usage=KeyUsage.ENCRYPT_DECRYPT,
        managed_by=KeyManager.APPLICATION,
    )
    version = _row(version_model, master_key_id=key_id, **made.columns)
    # Two processes that migrate at once both come here; only one can have the alias.
    with suppress(IntegrityError), atomic(using=using):
        key.save(using=using, force_insert=True)
        version.save(using=using, force_insert=True)
        for columns in made.further:
            _row(wrap_model, **columns).save(using=using, force_insert=True)
        # The models of a migration have no signals of ours.
        key_changes.announce(using, [made.columns["version_id"]])


def _row(model: type[Model], **values: Any) -> Model:
    """Return an unsaved row with those of the values that the model has a column for."""
    there = {field.attname for field in model._meta.concrete_fields}
    return model(**{name: value for name, value in values.items() if name in there})


def _is_there(key_model: type[Model], using: str) -> bool:
    rows: QuerySet[Model] = QuerySet(key_model, using=using).filter(alias=DEFAULT_ALIAS)
    if connections[using].in_atomic_block:
        # SQLite lets no transaction write that has read before another one wrote: this one, the
        # migration's, begins by writing, and waits.
        return bool(rows.update(alias=DEFAULT_ALIAS))
    return rows.exists()


def connect() -> None:
    """Have fields make the default key where they need it and it is gone."""
    make_default_by(partial(make, description=_DESCRIPTION, managed_by=KeyManager.APPLICATION))


def repair(*, using: str, apps: Any = installed_apps, **_: Any) -> None:
    """Make the default key again after each `migrate` and `flush`: a receiver of `post_migrate`."""
    if using != configuration().database:
        return
    # Whatever just happened to the tables, what this process knew of keys may be gone.
    keyring.evict()
    try:
        version_model = apps.get_model("envelope_fields", "MasterKeyVersion")
    except LookupError:  # migrated back to before our tables
        return
    if version_model._meta.db_table in connections[using].introspection.table_names():
        create_default_key(apps, using)


def make(alias: str, using: str, **attributes: Any) -> None:
    """Make a master key for a value that goes to the database `using`, or find that it is made.

    The application makes it, on whose behalf the value may be written.

    Args:
        alias: of the key.
        using: the database of the value.
        **attributes: as for `create_master_key`.

    Raises:
        MasterKeyUnusable: it cannot be made inside this transaction, or the keys' database failed.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """

    def create() -> None:
        with suppress(AliasTaken):  # another process was faster
            create_master_key(alias, actor=APPLICATION, **attributes)

    refusal = f"No master key has the alias {alias!r}, and none can be made"
    try:
        made_to_last(
            create,
            refusal,
            using,
            "the key 'default' with `python manage.py migrate`, one of a tenant with the create() "
            "of the field's TenantKey",
        )
    except TransactionManagementError:
        raise
    except DatabaseError as error:
        database = configuration().database
        raise MasterKeyUnusable(
            f"{refusal} in the database {database!r} ({type(error).__name__}). "
            f"{errors.advice(error, database)}"
        ) from error


def made_to_last(create: Any, refusal: str, using: str, advice: str = "") -> None:
    """Make what a value in a database needs so that no rollback takes it away from the value.

    Raises:
        MasterKeyUnusable: it cannot be made inside this transaction; the message begins with
            `refusal`, and `advice` says how it is made before.
    """
    database = configuration().database
    if not transactions.in_transaction(database):
        create()
    elif not _made_beside(create, database):
        if using != database or database != DEFAULT_DB_ALIAS:
            raise MasterKeyUnusable(
                f"{refusal} inside this transaction of the database {database!r}: a rollback would "
                f"take it away from a value that stays. Make it before the transaction begins"
                f"{f': {advice}' if advice else ''}."
            )
        create()


def _made_beside(create: Any, database: str) -> bool:
    """Make the key beside this thread's transaction, if that is possible and would be seen in it.

    A transaction that has changed keys itself holds locks that the autonomous one would wait for;
    one that sees a snapshot would not see the key.
    """
    if (
        not transactions.has_autonomous(database)
        or key_changes.uncommitted()
        or table_of_transaction()
    ):
        return False
    try:
        transactions.autonomous(create, database)
    except OperationalError:  # no lock, or no more connections
        return False
    return True
