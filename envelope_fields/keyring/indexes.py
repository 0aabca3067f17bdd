"""MACs of blind indexes: an HMAC that has absorbed what all values of an index begin with.

It is made of a search key, and as such never leaves the keyring: it is kept in the table, and goes
with it and with the material. Each MAC is made by a copy. Dropped, OpenSSL overwrites it.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from envelope_fields.conf import configuration
from envelope_fields.crypto.blind_index import DIGEST_BYTES, index_value
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.exceptions import IndexNotBegun, MasterKeyUnusable
from envelope_fields.keyring import index_rows, materials, rows
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.cache import current_table, known, uncommitted
from envelope_fields.keyring.derived import admit, is_admitted, serving
from envelope_fields.keyring.index_rows import IndexColumn, IndexRow
from envelope_fields.keyring.table import Absorbed, Table
from envelope_fields.keyring.uses import (
    FILL_INDEX,
    SEARCH_INDEX,
    VERIFY_INDEX,
    WRITE_INDEX,
    Purpose,
    counted,
    here,
)
from envelope_fields.models import KeyUsage
from envelope_fields.policy.authorization import check_serves_fields
from envelope_fields.policy.principals import bound_actor
from envelope_fields.policy.requests import in_flight

_Prepared = TypeVar("_Prepared")


def known_value(
    label: str,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: _Prepared,
    purpose: Purpose = WRITE_INDEX,
) -> bytes | None:
    """Return what `written` does for one value, if it is known that the caller may have it.

    Args:
        label, key: of the index.
        part_of: what makes the part of the value. It is called when the caller may have it, so
            that no traceback of ours has the value in it. It may raise.
        prepared: what that is called with.
        purpose: what it is made for; `searched` does it to search.
    """
    absorbed = _known(label, key, purpose)
    if absorbed is None:
        return None
    hmac = absorbed[0].copy()  # as `_values` does, without another call
    hmac.update(part_of(prepared))
    return hmac.finalize()[:DIGEST_BYTES] + absorbed[4].version_id


def written(
    column: IndexColumn,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: Iterable[_Prepared],
    using: str | None,
    managed_by: str | None = None,
) -> list[bytes]:
    """Return what is stored in an index, 24 bytes for each value.

    Args:
        column: the column.
        key: the search key, by its alias or its id.
        part_of: returns what `value_part` does for a value. It is called when the key is known, so
            that no traceback of ours has a value in it.
        prepared: what that is called with, for each value.
        using: the database that they go to.
        managed_by: who manages the key, by the declaration of the index; None is anybody.

    Raises:
        IndexNotBegun: nothing is known of the index, or not with this key.
        IndexNotReady: it was begun otherwise than it is declared now; or this build does not write
            another index that is to be written with it.
        MasterKeyUnusable: the state of the key forbids it or could not be read; its usage is
            another one; its pin is not committed and the values would outlive its rollback; or it
            serves no fields, or is managed otherwise.
        KeyAccessDenied: the principal may not.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    return _values(_writing(column, key, using, managed_by, WRITE_INDEX), part_of, prepared)


def filled(
    column: IndexColumn,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: Iterable[_Prepared],
    using: str | None,
    managed_by: str | None = None,
) -> list[bytes]:
    """Return what `written` does, for rows that are there: no value is written, and no other index.

    It is no use of the index.
    """
    return _values(_writing(column, key, using, managed_by, FILL_INDEX), part_of, prepared)


def _writing(
    column: IndexColumn,
    key: str | UUID,
    using: str | None,
    managed_by: str | None,
    purpose: Purpose,
) -> Absorbed:
    absorbed = _known(column.label, key, purpose)
    if absorbed is None:
        rows.lock_for_writing(using)
        table = current_table()
        row = _pinned(table, column, key)
        if purpose is WRITE_INDEX:
            index_rows.require_beside(column.label, column.beside, _index(table, column.label))
        admit(table, table.policy_data, row.state, column.label, purpose)
        # Before it is kept, since who finds it is not asked again.
        check_serves_fields(table.policy(row.state.key_id), row.state.alias, managed_by)
        index_rows.refuse_uncommitted(column.name, row.state, using)
        absorbed = _absorbed(table, row, column, key, purpose)
    return absorbed


def searched(
    column: IndexColumn,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: Iterable[_Prepared],
) -> list[bytes]:
    """Return what values are found by in an index; arguments and errors as for `written`.

    Raises:
        IndexNotReady: rows could be missing in it.
    """
    absorbed = _known(column.label, key, SEARCH_INDEX)
    if absorbed is None:
        table = current_table()
        index_rows.require_reading(column.label, _index(table, column.label))
        row = _pinned(table, column, key)
        admit(table, table.policy_data, row.state, column.label, SEARCH_INDEX)
        absorbed = _absorbed(table, row, column, key, SEARCH_INDEX)
    return _values(absorbed, part_of, prepared)


def verified(
    column: IndexColumn,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: Iterable[_Prepared],
) -> list[bytes]:
    """Return what `written` does, for a look that is no use of the index."""
    absorbed = _known(column.label, key, VERIFY_INDEX)
    if absorbed is None:
        table = current_table()
        row = _pinned(table, column, key)
        admit(table, table.policy_data, row.state, column.label, VERIFY_INDEX)
        absorbed = _absorbed(table, row, column, key, VERIFY_INDEX)
    return _values(absorbed, part_of, prepared)


def pinned_version_id(column: IndexColumn, key: str | UUID) -> bytes:
    """Return the id of the version of a search key that the values of an index are under.

    Raises:
        IndexNotBegun: it is not begun, or not with this key.
        IndexNotReady, MasterKeyUnusable: as for `written`.
    """
    return _pinned(current_table(), column, key).state.version_id


def index_state(label: str) -> IndexRow | None:
    """Return how far an index is, as it is known in this process; None where it is not begun.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    return _index(current_table(), label)


def _known(label: str, key: str | UUID, purpose: Purpose) -> Absorbed | None:
    """Return the HMAC, if it is known that the caller may use it, and count the use."""
    here.came = True
    table, now = known.table, uptime()
    if uncommitted or now >= table.deadline:
        return None
    absorbed = table.absorbed.get((label, key, purpose))
    if absorbed is None:
        return None
    _, uses, everybody, unbound, version, _ = absorbed
    if (unbound and not in_flight) if bound_actor() is None else everybody:
        uses.at = now
        next(uses.count)
        return absorbed
    return absorbed if is_admitted(table, version, label, purpose) else None


def _absorbed(
    table: Table, row: rows.KeyRow, column: IndexColumn, key: str | UUID, purpose: Purpose
) -> Absorbed:
    """Return the HMAC for one who was admitted, and keep it for the next ones."""

    def made(material: KeyBuffer) -> HMAC:
        hmac = HMAC(material, SHA256())
        hmac.update(column.domain.encode())
        return hmac

    hmac = materials.used(row, made)
    absorbed = (hmac, *serving(table, row, purpose), column.label)
    if materials.lasts(row, until=table.deadline):
        table.keep_absorbed((column.label, key, purpose), absorbed)
    counted(row.state.version_id, purpose).one()
    return absorbed


def _values(
    absorbed: Absorbed, part_of: Callable[[_Prepared], bytes], prepared: Iterable[_Prepared]
) -> list[bytes]:
    copy, version_id, made = absorbed[0].copy, absorbed[4].version_id, list[bytes]()
    for each in prepared:
        hmac = copy()
        hmac.update(part_of(each))
        made.append(index_value(hmac.finalize(), version_id))
    return made


def _index(table: Table, label: str) -> IndexRow | None:
    row = table.indexes.get(label)
    if row is None:
        row = index_rows.index_row(label)
        if row is not None:
            table.indexes[label] = row
    return row


def _pinned(table: Table, column: IndexColumn, key: str | UUID) -> rows.KeyRow:
    """Return the version that the values of an index are under.

    Raises:
        IndexNotBegun: it is not begun, or not with this key.
        IndexNotReady: it was begun otherwise.
        MasterKeyUnusable: the key is for something else, or something could not be read.
    """
    index = _index(table, column.label)
    if index is not None:
        index_rows.require_same(column, index)
    row = table.pinned.get((column.name, key)) or index_rows.pinned_version(column.name, key)
    if row is None or index is None:
        raise IndexNotBegun(
            f"The blind index {column.label} is not begun with the search key {key!r} in the "
            f"database {configuration().database!r}."
        )
    if row.usage != KeyUsage.GENERATE_VERIFY_MAC:
        raise MasterKeyUnusable(
            f"The usage of {row.state} is {KeyUsage(row.usage).label!r}, and a blind index takes "
            f"one to {KeyUsage.GENERATE_VERIFY_MAC.label}."
        )
    table.keep_pinned((column.name, key), row)
    return row
