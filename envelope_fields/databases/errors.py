"""What the errors of databases mean, whichever of them raised one."""

from __future__ import annotations

from django.db import DatabaseError

from envelope_fields.databases import VENDORS


def says_no_table(error: DatabaseError) -> bool:
    """Whether a query failed because its table does not exist.

    Asking the catalogue instead would miss tables: it lists neither other schemas nor, where case
    does not count, the name that the model has.
    """
    return any(vendor.says_no_table(error) for vendor in VENDORS.values())


def says_no_column(error: DatabaseError) -> bool:
    """Whether a query failed because its table lacks a column, as before a migration."""
    return any(vendor.says_no_column(error) for vendor in VENDORS.values())
