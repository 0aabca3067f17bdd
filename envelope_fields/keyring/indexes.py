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
from envelope_fields.keyring import index_rows, materials, rows, uses
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.cache import current_table, known, uncommitted
from envelope_fields.keyring.index_rows import IndexColumn, IndexRow
from envelope_fields.keyring.table import ABSORBED, Absorbed, Table
from envelope_fields.models import KeyUsage
from envelope_fields.policy.principals import bound_actor
from envelope_fields.policy.requests import in_flight

_Prepared = TypeVar("_Prepared")


def known_value(
    label: str,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: _Prepared,
    purpose: uses.Purpose = uses.WRITE_INDEX,
) -> bytes | None:
    """Return what `values` does for one value, if it is known that the caller may have it.

    Args:
        label, key: of the index.
        part_of, prepared: as for `values`; it may raise.
        purpose: what it is made for.
    """
    absorbed = _known(label, key, purpose)
    if absorbed is None:
        return None
    hmac = absorbed[0].copy()  # as `values` does, without another call
    hmac.update(part_of(prepared))
    return hmac.finalize()[:DIGEST_BYTES] + absorbed[4].version_id


def values(
    purpose: uses.Purpose,
    column: IndexColumn,
    key: str | UUID,
    part_of: Callable[[_Prepared], bytes],
    prepared: Iterable[_Prepared],
    using: str | None = None,
    managed_by: str | None = None,
) -> list[bytes]:
    """Return what is stored in an index, or found by in it: 24 bytes for each value.

    Args:
        purpose: `WRITE_INDEX`; `FILL_INDEX` for rows that are there, where no value is written, and
            no other index; `SEARCH_INDEX`; or `VERIFY_INDEX`. Two do not count as a use of it.
        key: the search key, by its alias or its id.
        part_of: returns what `value_part` does for a value. It is called when the key is known, so
            that no traceback of ours has a value in it.
        prepared: what that is called with, for each value.
        using: the database that they go to, where they are stored.
        managed_by: who manages the key then, by the declaration of the index; None is anybody.

    Raises:
        IndexNotBegun: nothing is known of the index, or not with this key.
        IndexNotReady: it was begun otherwise than it is declared now; or this build does not write
            another index that is to be written with it; or rows could be missing that are looked
            for.
        MasterKeyUnusable: the state of the key forbids it or could not be read; its usage is
            another one; its pin is not committed and the values would outlive its rollback; or it
            serves no fields, or is managed otherwise.
        KeyAccessDenied: the principal may not.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    absorbed = _known(column.label, key, purpose)
    if absorbed is None:
        is_stored = purpose in (uses.WRITE_INDEX, uses.FILL_INDEX)
        if is_stored:
            rows.lock_for_writing(using)
        table = current_table()
        if purpose is uses.SEARCH_INDEX:
            index_rows.require_reading(column.label, _index(table, column.label))
        row = _pinned(table, column, key)
        if purpose is uses.WRITE_INDEX:
            index_rows.require_beside(column.label, column.beside, _index(table, column.label))
        uses.admit(table.policy_data, row, column.label, purpose)
        if is_stored:  # before it is kept, since who finds it is not asked again
            row.policy.check_serves_fields(row.state.alias, managed_by)
            index_rows.refuse_uncommitted(column.name, row.state, using)
        absorbed = _absorbed(table, row, column, key, purpose)
    copy, version_id, made = absorbed[0].copy, absorbed[4].version_id, list[bytes]()
    for each in prepared:
        hmac = copy()
        hmac.update(part_of(each))
        made.append(index_value(hmac.finalize(), version_id))
    return made


def pinned_version_id(column: IndexColumn, key: str | UUID) -> bytes:
    """Return the id of the version of a search key that the values of an index are under.

    Errors are those of `values`, such as `IndexNotBegun`.
    """
    return _pinned(current_table(), column, key).state.version_id


def index_state(label: str) -> IndexRow | None:
    """Return how far an index is, as it is known in this process; None where it is not begun.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    return _index(current_table(), label)


def _known(label: str, key: str | UUID, purpose: uses.Purpose) -> Absorbed | None:
    """Return the HMAC, if it is known that the caller may use it, and count the use."""
    uses.this_thread.has_used_key = True
    table, now = known.table, uptime()
    if uncommitted or now >= table.deadline:
        return None
    absorbed = table.absorbed.get((label, key, purpose))
    if absorbed is None:
        return None
    _, used, everybody, unbound, version, _ = absorbed
    if (unbound and not in_flight) if bound_actor() is None else everybody:
        used.at = now
        next(used.count)
        return absorbed
    return absorbed if table.has_admitted(version, label, purpose) else None


def _absorbed(
    table: Table, row: rows.KeyRow, column: IndexColumn, key: str | UUID, purpose: uses.Purpose
) -> Absorbed:
    """Return the HMAC for one who was admitted, and keep it for the next ones."""

    def made(material: KeyBuffer) -> HMAC:
        hmac = HMAC(material, SHA256())
        hmac.update(column.domain.encode())
        return hmac

    hmac = materials.used(row, made)
    absorbed = (hmac, *uses.serving(row, purpose), column.label)
    if materials.lasts(row, until=table.deadline):
        table.keep(table.absorbed, ABSORBED, (column.label, key, purpose), absorbed)
    uses.counted(row.state.version_id, purpose).one()
    return absorbed


def _index(table: Table, label: str) -> IndexRow | None:
    row = table.indexes.get(label)
    if row is None:
        row = index_rows.index_row(label)
        if row is not None:
            table.indexes[label] = row
    return row


def _pinned(table: Table, column: IndexColumn, key: str | UUID) -> rows.KeyRow:
    """Return the version that the values of an index are under; errors as for `values`."""
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
    table.pinned[column.name, key] = row
    return row
