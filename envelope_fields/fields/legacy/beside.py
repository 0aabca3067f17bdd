"""Another package's values in a column beside the encrypted one, since they are no bytes as ours.

A query reads both as one: what the other column has, with a mark before it, and the envelope where
that is NULL. Every write of ours makes it NULL, so that what is in it was stored before the first
one, or by an old build since, and is the value of the row.
"""

from typing import Any, Final

from django.db.models.expressions import Col

from envelope_fields.databases.texts import marked_sql

MARK: Final = b"\x00"  # no envelope begins with it


def sql_of_both(field: Any, alias: str | None, compiler: Any, connection: Any) -> tuple[str, Any]:
    """Return what is selected of a field: the marked bytes of the other column, or the envelope.

    Args:
        field: the encrypted field.
        alias: that of the table in the query.
        compiler: of the query.
        connection: of the database.
    """
    plain = field.converted
    new, _ = Col(alias, field.binary).as_sql(compiler, connection)  # type: ignore[arg-type]
    old, _ = Col(alias, plain).as_sql(compiler, connection)  # type: ignore[arg-type]
    is_bytes = plain.get_internal_type() == "BinaryField"
    marked = marked_sql(old, connection, is_bytes=is_bytes)
    return f"CASE WHEN {old} IS NULL THEN {new} ELSE {marked} END", ()


def without_mark(field: Any, stored: bytes) -> bytes | None:
    """Return what another package has stored, of what was read for a field; None of other bytes."""
    if not field.reads_beside:
        return stored
    return stored[len(MARK) :] if stored.startswith(MARK) else None


def marked(stored: bytes | str) -> bytes:
    """Return what another package has stored, as a query reads it; a text may be given."""
    return MARK + (stored.encode() if isinstance(stored, str) else bytes(stored))
