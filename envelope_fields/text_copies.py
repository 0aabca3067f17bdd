"""Copies of envelopes as text, in columns that are no encrypted fields.

Packages that keep revisions and audit logs serialize a row, and store the text: then a value is
under a key version where no census of encrypted columns sees it. The header of an envelope is
exactly the first twelve characters of that text (docs/spec/envelope-v1.md, "Layout"), so a version
can be looked for in the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connections, router, transaction
from django.db.models import Field, Model

from envelope_fields.census import CensusFailed
from envelope_fields.crypto import format as layout
from envelope_fields.database_errors import says_no_column, says_no_table
from envelope_fields.models import MasterKey

VERSIONS_AT_ONCE = 50
# A shorter column holds no whole envelope.
_SHORTEST = len(layout.encode_text(layout.FORMAT_VERSION + bytes(layout.OVERHEAD_BYTES - 1)))
_TEXTS = re.compile(r"(long|medium|tiny)?text|varchar|char|character|jsonb?|citext|hstore|xml")
_LENGTH = re.compile(r"\((\d+)\)")
# Whether a text holds another, letter by letter.
_HOLDS = {
    "postgresql": "strpos({column}::text, %s) > 0",
    "mysql": "LOCATE(BINARY %s, {column}) > 0",
    "sqlite": "instr({column}, %s) > 0",
}


@dataclass(frozen=True, slots=True)
class TextCopies:
    """Rows of a text or JSON column that hold envelopes of one key version.

    Attributes:
        database: the alias in `DATABASES`.
        model: `app_label.Model`.
        field: the field's name.
        version_id: the key version.
        rows: how many rows hold such a text, at least 1.
    """

    database: str
    model: str
    field: str
    version_id: bytes
    rows: int

    def __str__(self) -> str:
        return f"{self.model}.{self.field} in the database {self.database!r} ({self.rows:,})"


def text_copies(version_ids: Iterable[bytes], *, database: str | None = None) -> list[TextCopies]:
    """Look for envelopes of key versions in the text and JSON columns of all installed models.

    Args:
        version_ids: the 8 bytes that name each version.
        database: look in this one alone.

    Raises:
        CensusFailed: a column could not be looked at.
    """
    wanted = sorted(set(version_ids))
    found = [
        TextCopies(column.database, column.model._meta.label, column.field.name, version_id, rows)
        for column in _text_columns(database)
        for version_id, rows in _search(column, wanted)
        if rows
    ]
    return sorted(found, key=lambda each: (each.database, each.model, each.field, each.version_id))


@dataclass(frozen=True, slots=True)
class _TextColumn:
    database: str
    model: type[Model]
    field: Field[Any, Any]

    @property
    def names(self) -> tuple[str, str]:
        """The names of table and column, quoted for SQL."""
        quote = connections[self.database].ops.quote_name
        return quote(self.model._meta.db_table), quote(str(self.field.column))


def _text_columns(database: str | None) -> Iterator[_TextColumn]:
    for alias in connections if database is None else [database]:
        if connections[alias].vendor not in _HOLDS:
            continue
        seen = set()
        for model in apps.get_models(include_auto_created=True, include_swapped=True):
            if not _is_searched(model, alias):
                continue
            for field in model._meta.local_concrete_fields:
                column = _TextColumn(alias, model, field)
                if _can_hold(field, alias) and column.names not in seen:
                    seen.add(column.names)
                    yield column


def _is_searched(model: type[Model], alias: str) -> bool:
    """Whether a model's table may be in a database; none of ours holds an envelope as text."""
    if model._meta.proxy or model._meta.app_label == MasterKey._meta.app_label:
        return False
    return bool(router.allow_migrate_model(alias, model)) or router.db_for_write(model) == alias


def _can_hold(field: Field[Any, Any], alias: str) -> bool:
    kind = (field.db_type(connections[alias]) or "").lower()
    length = _LENGTH.search(kind)
    is_too_short = length is not None and int(length[1]) < _SHORTEST
    return _TEXTS.match(kind) is not None and not is_too_short


def _search(column: _TextColumn, version_ids: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    remaining = iter(version_ids)
    while some := list(islice(remaining, VERSIONS_AT_ONCE)):
        yield from zip(some, _counted(column, some), strict=True)


def _counted(column: _TextColumn, version_ids: Sequence[bytes]) -> list[int]:
    table, name = column.names
    holds = _HOLDS[connections[column.database].vendor].format(column=name.replace("%", "%%"))
    counts = ", ".join([f"SUM(CASE WHEN {holds} THEN 1 ELSE 0 END)"] * len(version_ids))
    sql = f"SELECT {counts} FROM {table.replace('%', '%%')} WHERE {holds}"  # noqa: S608 - quoted
    texts = [layout.encode_text(layout.header(version_id)) for version_id in version_ids]
    try:
        with (
            transaction.atomic(using=column.database),
            connections[column.database].cursor() as cursor,
        ):
            cursor.execute(sql, [*texts, layout.TEXT_PREFIX])
            return [int(rows or 0) for rows in cursor.fetchone()]
    except DatabaseError as error:
        if says_no_table(error) or says_no_column(error):
            return [0] * len(version_ids)
        raise CensusFailed(
            f"{column.model._meta.label}.{column.field.name} could not be searched for copies of "
            f"envelopes in the database {column.database!r} ({type(error).__name__}). Is it "
            "reachable, and migrated with `python manage.py migrate`?"
        ) from error
