"""Copies of envelopes as text, in columns that are not encrypted fields.

Packages that keep revisions and audit logs serialize a row, and store the text: then a value is
under a key version where no census of encrypted columns sees it. The header of an envelope is
exactly the first twelve characters of that text (docs/spec/envelope-v1.md, "Layout"), so a version
can be looked for in the database. Triggers that write rows as text or JSON store what PostgreSQL
shows of bytes: hexadecimal digits or, where `bytea_output` says so, escapes.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from math import inf
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connections
from django.db.models import Field, Model

from envelope_fields.census.columns import CensusFailed, Table, in_schemas
from envelope_fields.crypto import format as layout
from envelope_fields.databases import Relation, database as database_of, may_live_in
from envelope_fields.databases.errors import says_no_column, says_no_table
from envelope_fields.models import MasterKey

VERSIONS_AT_ONCE = 50
# A shorter column holds no whole envelope.
_SHORTEST = len(layout.encode_text(layout.FORMAT_VERSION + bytes(layout.OVERHEAD_BYTES - 1)))
_TEXTS = re.compile(r"(long|medium|tiny)?text|varchar|char|character|jsonb?|citext|hstore|xml")
_LENGTH = re.compile(r"\((\d+)\)")


@dataclass(frozen=True, slots=True)
class TextCopies:
    """Rows of a text or JSON column that hold envelopes of one key version."""

    database: str  # the alias in `DATABASES`
    model: str  # `app_label.Model`
    field: str
    version_id: bytes
    rows: int  # how many hold such a text, at least 1
    schema: str | None = None  # None where the name of the table alone means it

    def __str__(self) -> str:
        schema = "" if self.schema is None else f"the schema {self.schema!r} of "
        where = f"{schema}the database {self.database!r}"
        return f"{self.model}.{self.field} in {where} ({self.rows:,})"


def text_copies(version_ids: Iterable[bytes], *, database: str | None = None) -> list[TextCopies]:
    """Look for envelopes of key versions in the text and JSON columns of all installed models.

    Args:
        version_ids: the 8 bytes that name each version.
        database: look in this one alone.

    Raises:
        CensusFailed: a column could not be searched.
    """
    wanted = sorted(set(version_ids))
    found = [
        TextCopies(table.database, table.label, field, version_id, rows, table.schema)
        for table in _text_tables(database)
        for field, version_id, rows in _search(table, wanted)
        if rows
    ]
    return sorted(found, key=lambda each: str((each, each.version_id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextTable(Table):
    """A table with its text columns: the names of fields, and their columns quoted for SQL."""

    label: str
    columns: dict[str, str]


def _text_tables(database: str | None) -> Iterator[_TextTable]:
    for alias in connections if database is None else [database]:
        if database_of(alias).HOLDS:
            yield from _located(alias, list(_declared(alias)))


def _declared(alias: str) -> Iterator[_TextTable]:
    quote, seen = connections[alias].ops.quote_name, set()
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        if _is_searched(model, alias):
            columns = {
                field.name: quote(str(field.column))
                for field in model._meta.local_concrete_fields
                if _can_hold(field, alias) and (model._meta.db_table, field.column) not in seen
            }
            seen |= {(model._meta.db_table, field.column) for field in model._meta.local_fields}
            if columns:
                table_sql = quote(model._meta.db_table)
                yield _TextTable(
                    database=alias, label=model._meta.label, table_sql=table_sql, columns=columns
                )


def _located(alias: str, tables: list[_TextTable]) -> list[_TextTable]:
    """Find the tables in every schema that the settings do not leave out."""
    ask, found = database_of(alias), defaultdict[str, list[Relation]](list)
    try:
        for relation in ask.tables({table.table_sql for table in tables}):
            found[relation.table].append(relation)
    except DatabaseError as error:
        raise CensusFailed(
            f"The catalogue of the database {alias!r} could not be read ({type(error).__name__}). "
            "Is it reachable?"
        ) from error
    return in_schemas((table, found[ask.name(table.table_sql)]) for table in tables)


def _is_searched(model: type[Model], alias: str) -> bool:
    """Whether a model's table may be in a database; none of ours holds an envelope as text."""
    is_ours = model._meta.app_label == MasterKey._meta.app_label
    return not model._meta.proxy and not is_ours and may_live_in(alias, model)


def _can_hold(field: Field[Any, Any], alias: str) -> bool:
    kind = (field.db_type(connections[alias]) or "").lower()
    length = _LENGTH.search(kind)
    is_too_short = length is not None and int(length[1]) < _SHORTEST
    return _TEXTS.match(kind) is not None and not is_too_short


def _in_hex(header: bytes) -> str:
    r"""Return what PostgreSQL makes of bytes where a trigger copies a row: `\x01…`."""
    return f"x{header.hex()}"


def _escaped(header: bytes) -> str:
    r"""Return what it makes of them where `bytea_output` is escape: `\001…`."""
    shown = (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in header)
    return "".join("\\\\" if each == "\\" else each for each in shown)


def _escaped_in_json(header: bytes) -> str:
    return json.dumps(_escaped(header))[1:-1]


_FORMS = (layout.encode_text, _in_hex, _escaped, _escaped_in_json)


def _search(table: _TextTable, version_ids: Sequence[bytes]) -> Iterator[tuple[str, bytes, int]]:
    remaining, patterns = iter(version_ids), len(_FORMS) * len(table.columns)
    most = connections[table.database].features.max_query_params or inf
    at_once = int(max(1, min(VERSIONS_AT_ONCE, most // patterns - 1)))
    while some := list(islice(remaining, at_once)):
        pairs = product(table.columns, some)
        for (field, version_id), rows in zip(pairs, _counted(table, some), strict=True):
            yield field, version_id, rows


def _counted(table: _TextTable, version_ids: Sequence[bytes]) -> list[int]:
    """Count the rows that hold each version: column by column, and in each version by version."""
    template = database_of(table.database).HOLDS or ""
    named = [template.format(column=name.replace("%", "%%")) for name in table.columns.values()]
    holds = [f"({' OR '.join([each] * len(_FORMS))})" for each in named]
    counts = ", ".join(
        f"SUM(CASE WHEN {each} THEN 1 ELSE 0 END)" for each in holds for _ in version_ids
    )
    table_sql = f"{table.table_sql}{table.relation.with_history}"
    sql = (
        f"SELECT {counts} FROM {table_sql.replace('%', '%%')} "  # noqa: S608 - all quoted
        f"WHERE {' OR '.join(holds)}"
    )
    texts = [form(header) for header in map(layout.header, version_ids) for form in _FORMS]
    prefixes = [layout.TEXT_PREFIX, *(form(layout.FORMAT_VERSION) for form in _FORMS[1:])]
    ask = database_of(table.database)
    try:
        with ask.seeing_all_rows():
            [row] = ask.fetch(sql, [*texts * len(holds), *prefixes * len(holds)])
    except DatabaseError as error:
        return _counted_apart(table, version_ids, error)
    return [int(rows or 0) for rows in row]


def _counted_apart(
    table: _TextTable, version_ids: Sequence[bytes], error: DatabaseError
) -> list[int]:
    """Return what an error leaves to be counted: of a table that lacks a column, the others."""
    lacks_column = says_no_column(error)
    if lacks_column and len(table.columns) > 1:
        each = ({name: column_sql} for name, column_sql in table.columns.items())
        apart = (_counted(replace(table, columns=column), version_ids) for column in each)
        return [rows for counted in apart for rows in counted]
    if lacks_column or says_no_table(error):
        return [0] * len(table.columns) * len(version_ids)
    raise CensusFailed(
        f"{table.label} could not be searched for copies of envelopes in the database "
        f"{table.database!r} ({type(error).__name__} at {table.table_sql}). Is it reachable, and "
        "may this role read all of its rows?"
    ) from error
