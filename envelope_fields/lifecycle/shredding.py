"""Crypto-shredding: a key is destroyed together with the values under it, on purpose.

Disable, wait until every process knows, count, destroy; and a certificate of it. In a web request
no one waits: there it takes two calls, `begin_shredding` and `finish_shredding`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connections

from envelope_fields import databases
from envelope_fields.audit.uses import last_use_by_kms
from envelope_fields.census import NotCounted, census, not_counted
from envelope_fields.census.columns import Column, encrypted_columns, tables_of
from envelope_fields.census.uncounted import failing
from envelope_fields.census.values import counted
from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable, quantity
from envelope_fields.lifecycle import certificates, context, other_processes
from envelope_fields.lifecycle.certificates import ShredCertificate, ShredConfirmation
from envelope_fields.lifecycle.context import performing
from envelope_fields.lifecycle.deletion import destroy
from envelope_fields.lifecycle.keys import KeyOrVersion, find_master_key, found, state_after
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.other_processes import known_everywhere
from envelope_fields.lifecycle.representation import Row, as_text, named
from envelope_fields.models import DEFAULT_ALIAS, KeyState, MasterKeyVersion
from envelope_fields.policy import Action, require

Confirm = ShredConfirmation | str | None

WAIT_SECONDS = 60  # seconds that `shred` waits for transactions; `finish_shredding` waits for a few


@performs(Operation.SHRED)
def shred(key: KeyOrVersion, *, confirm: Confirm = None, actor: Any = None) -> ShredCertificate:
    """Destroy a key, or a version that is not current, together with all values under it.

    It is disabled; the longest `KEY_CACHE_SECONDS` of any process pass until every process knows;
    transactions that began before that end; the values are counted, and the material is
    overwritten. This waits that long, or what is left of it where it was disabled before. Backups
    remain: values can be read until the last backup of its wrapped row is gone, or its root key.
    Shredding again what was shredded returns the same certificate.

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        confirm: what is agreed to. A `ShredConfirmation`, as `shred_confirmation` returned it, is
            refused when there are more values now. The alias of the key, or its id where it has
            none, agrees to any number; None leaves it at the key that the call names.
        actor: as for `create_master_key`; needs the rights to disable and to schedule deletions.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the version is the current one, the key was deleted before, another user
            changed its state meanwhile, a transaction is open that could take all back, or one in
            which values may have been written does not end.
        KeyAccessDenied: the actor may not.
        ConfirmationRequired: `confirm` names another key, or fewer values than there are.
        CensusFailed: the values could not be counted. As with the error before, it stays disabled.
    """
    if isinstance(key, str):  # while this waits, its alias may be moved to another key
        key = find_master_key(key)
    ready = begin_shredding(key, confirm=confirm, actor=actor)
    other_processes.wait_until(ready)
    return _finish(key, confirm, actor, ready, WAIT_SECONDS)


def shred_confirmation(key: KeyOrVersion) -> ShredConfirmation:
    """Return what shredding a key or version would destroy, for a person to agree to.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        CensusFailed: the values could not be counted.
    """
    row = found(configuration().database, key)
    rows = census(row)
    return ShredConfirmation(
        certificates.name_of(row),
        certificates.counted_fields(rows),
        last_use_by_kms(row),
        certificates.ended_lookups(rows),
    )


def begin_shredding(key: KeyOrVersion, *, confirm: Confirm = None, actor: Any = None) -> datetime:
    """Disable what is to be shredded, and return from when on `finish_shredding` destroys it.

    Arguments and errors are those of `shred`. Enabling the key takes it back.
    """
    context.refuse_transaction_around("shred a key")
    with performing(Operation.SHRED, key, actor) as done:
        if _is_shredded(done.row):
            return databases.now()
        state_after(Operation.SHRED, done.row)
        name = confirm.name if isinstance(confirm, ShredConfirmation) else confirm
        certificates.check_agreed(name, done.row, ())
        if done.row.state == KeyState.ENABLED:
            require(Action.DISABLE, done.key, actor, using=done.using)
            done.become(KeyState.DISABLED, Operation.DISABLE)
    return known_everywhere(done.row.state_changed_at)  # of what is committed


def ready_to_shred_at(key: KeyOrVersion) -> datetime | None:
    """Return from when on `finish_shredding` can be called; None where it has not begun.

    Raises:
        MasterKeyNotFound: there is no such key or version.
    """
    row = found(configuration().database, key)
    unusable = row.state in (KeyState.DISABLED, KeyState.PENDING_DELETION)
    return known_everywhere(row.state_changed_at) if unusable else None


def finish_shredding(
    key: KeyOrVersion, *, confirm: Confirm = None, actor: Any = None
) -> ShredCertificate:
    """Count and destroy what `begin_shredding` disabled, as soon as every process knows of it.

    Arguments and errors are those of `shred`; `MasterKeyUnusable` also where it is too early.
    """
    context.refuse_transaction_around("shred a key")
    return _finish(key, confirm, actor, databases.now(), other_processes.WAIT_SECONDS)


def _finish(
    key: KeyOrVersion, confirm: Confirm, actor: Any, waited_until: datetime, seconds: float
) -> ShredCertificate:
    with performing(Operation.SHRED, key, actor) as done:
        earlier = certificates.certificate_of(done.row) if _is_shredded(done.row) else None
        if earlier is not None:
            return earlier
        state_after(Operation.SHRED, done.row)
        _refuse_unless_known(done.row, waited_until)
    # Counted under no lock of ours: others need the keys' database meanwhile.
    unseen = _unseen(done.row, seconds)
    rows = census(done.row)
    fields, lookups = certificates.counted_fields(rows), certificates.ended_lookups(rows)
    with context.performing_again(Operation.SHRED, done, key, actor) as now:
        now.refuse_unless_as(done.row, " Begin again.")
        certificates.check_agreed(confirm, now.row, fields)
        last_use = last_use_by_kms(now.row)
        certificate = certificates.issue(now, fields, last_use, unseen, lookups)
        destroy(now)
    return certificate


def _unseen(row: Row, seconds: float) -> list[NotCounted]:
    """Return what cannot be counted, once no transaction is open that may hold older values.

    Raises:
        MasterKeyUnusable: there is one.
    """
    key = row.master_key if isinstance(row, MasterKeyVersion) else row
    known = known_everywhere(row.state_changed_at)
    waited = other_processes.wait_for_older(known, seconds)
    if waited.still_open:
        raise MasterKeyUnusable(
            f"Cannot shred {named(row)} yet: transactions are open in which values may have been "
            f"written before every process knew: {', '.join(map(str, waited.still_open))}. Try "
            "again when they have ended."
        )
    return [*waited.unseen, *not_counted(), *in_other_formats(key.alias), *in_clear(key.alias)]


def _is_shredded(row: Row) -> bool:
    return row.state == KeyState.DESTROYED and certificates.certificate_of(row) is not None


def _refuse_unless_known(row: Row, waited_until: datetime) -> None:
    """Raise unless every process has known until a moment that the key is unusable."""
    if row.state == KeyState.ENABLED:
        raise MasterKeyUnusable(
            f"Cannot shred {named(row)}: it is enabled. Begin with begin_shredding(), which "
            "disables it; if that was done, it has been enabled since."
        )
    known = known_everywhere(row.state_changed_at)
    if known > waited_until:
        raise MasterKeyUnusable(
            f"Cannot shred {named(row)} yet: other processes may still write under it until "
            f"{as_text(known)}."
        )


# -- What outlives the key -------------------------------------------------------------------------


def in_other_formats(key: str | None) -> list[NotCounted]:
    """Name what another package has stored in columns that are written under a key.

    It is under that package's keys, and outlives ours.

    Args:
        key: an alias; what is in a column whose field asks for its key is named for each.

    Raises:
        CensusFailed: a column could not be counted.
    """
    columns = [column for column in encrypted_columns() if column.formats]
    return [
        NotCounted(
            column.database,
            column.location,
            f"{quantity(group.values, 'value')} in the format of {group.format}, under no key of "
            "this package: convert them, or delete their rows",
        )
        for column in _written_under(key, columns)
        for group in counted(column)
        if group.format
    ]


def in_clear(key: str | None) -> list[NotCounted]:
    """Name what is in clear in columns that fields written under a key convert.

    It is under no key, and outlives each.

    Args:
        key: as for `in_other_formats`.

    Raises:
        CensusFailed: a column could not be counted.
    """
    columns = [
        column
        for column in encrypted_columns()
        if getattr(column.field, "plain_field", None) is not None and not column.formats
    ]
    found = ((column, _values_in_clear(column)) for column in _written_under(key, columns))
    return [
        NotCounted(
            column.database,
            f"{column.table_sql}.{column.field.plain_field.column}",  # type: ignore[attr-defined]
            f"{quantity(values, 'value')} in clear, which {column} converts: bring it to "
            "the phase `only` first, or delete their rows",
        )
        for column, values in found
        if values
    ]


def _values_in_clear(column: Column) -> int:
    field: Any = column.encrypted_field
    ask, quote = databases.database(column.database), connections[column.database].ops.quote_name
    with failing(), ask.seeing_all_rows():
        clear = f"stored.{quote(field.plain_field.column)}"
        [[values]] = ask.fetch(f"SELECT count({clear}) FROM {column.table_sql} AS stored")  # noqa: S608 - names are quoted
    return int(values)


def _written_under(key: str | None, columns: Iterable[Column]) -> list[Column]:
    """Find the tables of columns that are written under a key, or ask for theirs."""
    keys = ((column, column.encrypted_field.key) for column in columns)
    return tables_of(each for each, own in keys if callable(own) or (own or DEFAULT_ALIAS) == key)
