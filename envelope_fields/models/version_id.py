"""The 8 bytes that an envelope has for its key version, as a column."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.databases import database_of


class VersionIdField(models.BinaryField):  # type: ignore[type-arg]
    """The 8 bytes by which an envelope names its key version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 8
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return database_of(connection).indexed_bytes(8) or super().db_type(connection)
