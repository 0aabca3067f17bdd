"""The default master key: made by migration `0002`, and made again after a flush."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db import IntegrityError, connections, router, transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import post_migrate

from envelope_fields import key_changes, keyring
from envelope_fields.conf import configuration
from envelope_fields.models import DEFAULT_ALIAS, KeyManager, KeyUsage


def create_default_key(apps: Any, using: str) -> None:
    """Make the master key with the alias `default` in the database `using`, if it is not there.

    Args:
        apps: the registry to take the models from: in a migration, that of its state.
        using: the database that is being migrated; nothing happens unless keys live there.

    Raises:
        ImproperlyConfigured: no usable root key; the message says which command makes one.
    """
    key_model = apps.get_model("envelope_fields", "MasterKey")
    version_model = apps.get_model("envelope_fields", "MasterKeyVersion")
    if using != configuration().database or not router.allow_migrate_model(using, key_model):
        return
    if _is_there(key_model, using):
        return
    key = key_model(
        id=uuid.uuid4(),
        alias=DEFAULT_ALIAS,
        description="Serves every encrypted field that names no key of its own.",
        usage=KeyUsage.ENCRYPT_DECRYPT,
    )
    if hasattr(key, "managed_by"):  # not yet in migration 0002; 0003 says it of the key made there
        key.managed_by = KeyManager.APPLICATION
    columns = keyring.generate_version(key.id, 1, key.usage)
    # Two processes that migrate at once both come here; only one can have the alias.
    with suppress(IntegrityError), transaction.atomic(using=using):
        key.save(using=using, force_insert=True)
        version_model(master_key=key, **columns).save(using=using, force_insert=True)
        # The models of a migration have no signals of ours.
        key_changes.announce(using, [columns["version_id"]])


def _is_there(key_model: type[Model], using: str) -> bool:
    rows: QuerySet[Model] = QuerySet(key_model, using=using).filter(alias=DEFAULT_ALIAS)
    if connections[using].in_atomic_block:
        # SQLite lets no transaction write that has read before another one wrote: this one, the
        # migration's, begins by writing, and waits.
        return bool(rows.update(alias=DEFAULT_ALIAS))
    return rows.exists()


def connect(app: AppConfig) -> None:
    """Repair the default key after each `migrate` and `flush`."""
    post_migrate.connect(_repair, sender=app, dispatch_uid="envelope_fields.default_key")


def _repair(*, using: str, apps: Any = installed_apps, **_: Any) -> None:
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
