"""Searches among many rows, by an encrypted value and by a plain indexed text, in turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection

from bench.loading import email
from bench.models import Indexed, Searched
from bench.rounds import without_garbage_collection
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.terms import term_looked_for
from envelope_fields.fields.prepared import Unencrypted

Search = Callable[[Any, str], object]


class Compared(NamedTuple):
    """Seconds of a search, as medians; and ratios, each of the medians of a part of the searches.

    `ratios` are of the time that passed, and `own` of the time of this process.
    """

    search: str
    text: float
    index: float
    ratios: Sequence[float]
    own: Sequence[float]


class Split(NamedTuple):
    """Where the seconds of a search go, as medians.

    `compiled` is what Django makes SQL in, the MAC included; `server` is until all was fetched.
    """

    compiled: float
    mac: float
    server: float


def compare(rows: int, searches: int, parts: int) -> list[Compared]:
    """Measure each kind of search, in turns, for terms from all over the table."""
    terms = [email(number) for number in random.sample(range(rows), min(rows, searches))]
    for term in terms[: min(100, len(terms))]:
        for search in _SEARCHES.values():
            search(Searched, term), search(Indexed, term)
    with without_garbage_collection():
        return [_compared(name, search, terms, parts) for name, search in _SEARCHES.items()]


def _get(model: Any, term: str) -> object:
    return model.objects.get(email=term)


def _get_and_look(model: Any, term: str) -> object:
    return model.objects.get(email=term).email


def _find_nothing(model: Any, term: str) -> object:
    return model.objects.filter(email=f"no.{term}").exists()


_SEARCHES: dict[str, Search] = {
    "get": _get, "get, and look": _get_and_look, "exists, of none": _find_nothing,
}  # fmt: skip


def _compared(name: str, search: Search, terms: Sequence[str], parts: int) -> Compared:
    passed: list[tuple[float, float]] = []
    own: list[tuple[float, float]] = []
    for term in terms:
        text, index = _timed(search, Searched, term), _timed(search, Indexed, term)
        passed.append((text[0], index[0]))
        own.append((text[1], index[1]))
    texts, indexes = zip(*passed, strict=True)
    return Compared(
        name, median(texts), median(indexes), _ratios(passed, parts), _ratios(own, parts)
    )


def _timed(search: Search, model: Any, term: str) -> tuple[float, float]:
    began, began_here = perf_counter(), process_time()
    search(model, term)
    return perf_counter() - began, process_time() - began_here


def _ratios(pairs: Sequence[tuple[float, float]], parts: int) -> list[float]:
    size = max(len(pairs) // parts, 1)
    slices = [pairs[start : start + size] for start in range(0, len(pairs) - size + 1, size)]
    medians = [tuple(map(median, zip(*part, strict=True))) for part in slices]
    return sorted(index / text for text, index in medians)


def split(model: Any, rows: int, searches: int) -> Split:
    """Measure the parts of a search."""
    compiled, mac, server = [], [], []
    for number in random.sample(range(rows), min(rows, searches)):
        term = email(number)
        began = process_time()
        sql, params = _compile(model, term)
        compiled.append(process_time() - began)
        mac.append(_mac(term) if model is Indexed else 0.0)
        began = perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            cursor.fetchall()
        server.append(perf_counter() - began)
    return Split(median(compiled), median(mac), median(server))


def _compile(model: Any, term: str) -> tuple[str, Any]:
    compiler = model.objects.filter(email=term).query.get_compiler(DEFAULT_DB_ALIAS)
    return compiler.as_sql()  # type: ignore[no-any-return]


def _mac(term: str) -> float:
    index = Indexed._meta.get_field("email_index")
    looked_for = term_looked_for(index, Unencrypted(term, None))
    began = process_time()
    macs.value_looked_for(index, looked_for.alias, looked_for, DEFAULT_DB_ALIAS)
    return process_time() - began
