"""A sample: how many of some values open under which key, before anything is written.

Most failures are configuration: a key that was changed, a fallback that the settings do not have.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from envelope_fields.census.columns import Column
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.crypto import format as layout
from envelope_fields.databases.errors import is_about_reading
from envelope_fields.databases.tables import has_table
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields.legacy.reading import format_of, marked, without_mark
from envelope_fields.jobs.statements import Statements, statements
from envelope_fields.rotation.scope import chosen_columns

FROM_EACH_END = 100  # values, of the first rows of a table, and of the last


@dataclass(frozen=True, slots=True)
class Sampled:
    """Some values of a field that are alike."""

    package: str  # in whose format they are; empty where no reader claims them
    key: str  # the name of what opened them; empty where nothing does, or nothing has to
    layers: int  # how often they were encrypted; 0 where they were not opened
    values: int  # how many there are

    @property
    def is_opened(self) -> bool:
        """Whether these values were opened."""
        return self.layers > 0 or self.package == "plaintext"


def sample(field: Any) -> list[Sampled]:
    """Open some values of a field, of the first and of the last rows of each of its tables.

    Raises:
        ImproperlyConfigured: a setting that a reader needs is missing, or not a key.
        Error: a table could not be read.
    """
    found: Counter[tuple[str, str, int]] = Counter()
    for column in chosen_columns([str(field)]):
        if has_table(column.table_sql, column.database):
            for stored in _some(column):
                found[_opened(column, stored)] += 1
    return [Sampled(*which, values) for which, values in sorted(found.items())]


def refuse_unopened(field: Any, sampled: list[Sampled], *, skip_unreadable: bool) -> None:
    """Raise if what was sampled does not open.

    Args:
        skip_unreadable: whether some may fail, as long as some of each package open.

    Raises:
        ConversionRefused: it says how many open under which key.
    """
    if all(each.is_opened for each in sampled):
        return
    opened = {each.package for each in sampled if each.is_opened}
    is_known = all(each.package in opened for each in sampled if each.package)
    if skip_unreadable and is_known:
        return
    advice = "Name all their keys in the settings of the package, and its readers in legacy=."
    if is_known:
        advice += " To convert the others, and have these listed: --skip-unreadable."
    raise ConversionRefused(
        f"{field}: not all values of a sample open, and nothing was written. {as_text(sampled)}. "
        f"{advice}"
    )


def as_text(sampled: list[Sampled]) -> str:
    """Return what was found, in a sentence."""
    return "; ".join(
        f"{each.values} of {each.package or 'no format that it reads'}: "
        + (f"opened under {each.key}" if each.key else "read" if each.is_opened else "not opened")
        + (f", encrypted {each.layers} times" if each.layers > 1 else "")
        for each in sampled
    )


def _some(column: Column) -> list[Any]:
    ask, envelopes = statements(column), [layout.FORMAT_VERSION]
    field: Any = column.encrypted_field
    if field.reads_beside:
        return list(map(marked, _some_beside(ask, str(field.plain_field.column)).values()))
    first = ask.first_others(FROM_EACH_END, envelopes)
    return list({**first, **ask.first_others(FROM_EACH_END, envelopes, last=True)}.values())


def _some_beside(ask: Statements, old: str) -> dict[Any, Any]:
    some: dict[Any, Any] = {}
    for last in (False, True):
        try:
            some |= ask.some_beside(old, FROM_EACH_END, last=last)
        except Exception as error:
            if not is_about_reading(error):  # of a row, which the run will list
                raise
    return some


def _opened(column: Column, stored: Any) -> tuple[str, str, int]:
    field: Any = column.field
    reader = format_of(field, stored)
    if reader is None:
        return "", "", 0
    try:
        raw = without_mark(field, stored)
        found = reader.read(raw, field, connections[column.database].timezone)
    except DecryptionFailed:
        return reader.package, "", 0
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(f"{field}: {error}") from error
    return reader.package, found.key, found.layers
