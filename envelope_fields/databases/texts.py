"""The bytes of texts, in SQL."""

from typing import Any


def marked_sql(column: str, connection: Any, *, is_bytes: bool) -> str:
    """Return SQL for the bytes of a column, a text in UTF-8, behind a byte of zeros.

    Args:
        column: the column, quoted.
        connection: to the database.
        is_bytes: whether the column has bytes.
    """
    if connection.vendor == "postgresql":
        found = column if is_bytes else f"convert_to({column}::text, 'UTF8')"
        return rf"'\x00'::bytea || {found}"
    if connection.vendor == "mysql":
        found = column if is_bytes else f"CAST(CONVERT({column} USING utf8mb4) AS BINARY)"
        return f"CONCAT(X'00', {found})"
    return f"CAST(X'00' || {column} AS BLOB)"
