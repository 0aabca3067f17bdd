"""What a statement takes in each phase, beside models that have the columns without a conversion.

In the time of this process: SQLite's own is in it, a server's is not. All take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import process_time
from typing import Any

from django.db import transaction
from django.db.models import Model

from bench.rounds import fastest
from bench.table import Table

ROWS, CHARACTERS = 500, 64
ROUNDS = 30

Work = Callable[[type[Model], Sequence[Any]], None]


def measure(rounds: int = ROUNDS) -> None:
    """Print how long each kind of statement takes, in microseconds a row."""
    from bench.moving.models import Beside, Clear, Sealed, Visit
    from envelope_fields.models import ColumnPhase

    written = {ColumnPhase.CLEAR: Clear, ColumnPhase.BOTH: Beside, ColumnPhase.ENCRYPTED: Beside}
    written[ColumnPhase.ONLY] = Sealed
    read = {ColumnPhase.CLEAR: Clear, ColumnPhase.BOTH: Clear, ColumnPhase.ENCRYPTED: Sealed}
    read[ColumnPhase.ONLY] = Sealed
    table = Table({"phase": 11, "work": 13, "beside": 8}, {"µs": 9, "beside it": 11, "ratio": 7})
    for phase in written:
        with _in_phase(phase), _rows(Visit, Beside, Clear, Sealed):
            for works, others in ((_WRITES, written), (_READS, read)):
                for work in works:
                    _compare(table, phase, work, Visit, others[phase], rounds)


def _compare(table: Table, phase: str, work: Work, ours: Any, other: Any, rounds: int) -> None:
    timed = {each: partial(_seconds, work, each) for each in (ours, other)}
    found = fastest({each.__name__: timed[each] for each in timed}, rounds)
    took, beside = (1e6 * found[each.__name__] / ROWS for each in (ours, other))
    ratio = f"{took / beside:.2f}"
    table.row(str(phase), work.__name__, other.__name__, f"{took:.2f}", f"{beside:.2f}", ratio)


def _seconds(work: Work, model: Any) -> float:
    rows = list(model.objects.order_by("pk"))
    for row in rows:
        row.report  # noqa: B018 - it is opened
    with transaction.atomic():
        began = process_time()
        work(model, rows)
        seconds = process_time() - began
        transaction.set_rollback(True)
    return seconds


# Writes


def _values_of(model: Any, text: str) -> dict[str, str]:
    names = ["report", "report_clear"] if model.__name__ == "Beside" else ["report"]
    return dict.fromkeys(names, text)


def _assigned(rows: Sequence[Any]) -> list[str]:
    values = _values_of(type(rows[0]), "y" * CHARACTERS)
    for row in rows:
        for name, value in values.items():
            setattr(row, name, value)
    return list(values)


def save(model: Any, rows: Sequence[Any]) -> None:
    _assigned(rows)
    for row in rows:
        row.save()


def bulk_create(model: Any, rows: Sequence[Any]) -> None:
    values = _values_of(model, "y" * CHARACTERS)
    model.objects.bulk_create([model(**values) for _ in rows])


def bulk_update(model: Any, rows: Sequence[Any]) -> None:
    model.objects.bulk_update(rows, _assigned(rows), batch_size=100)


def update(model: Any, rows: Sequence[Any]) -> None:
    values = _values_of(model, "y" * CHARACTERS)
    for row in rows:
        model.objects.filter(pk=row.pk).update(**values)


# Reads


def values_list(model: Any, rows: Sequence[Any]) -> None:
    list(model.objects.values_list("report", flat=True))


def objects(model: Any, rows: Sequence[Any]) -> None:
    list(_loaded(model))


def looked_at(model: Any, rows: Sequence[Any]) -> None:
    for row in _loaded(model):
        row.report  # noqa: B018 - it is opened


def get(model: Any, rows: Sequence[Any]) -> None:
    for row in rows:
        _loaded(model).get(pk=row.pk).report  # noqa: B018 - it is opened


def _loaded(model: Any) -> Any:
    # The column in clear of the one that has both is not loaded by ours.
    return model.objects.all()


_WRITES: tuple[Work, ...] = (save, bulk_create, bulk_update, update)
_READS: tuple[Work, ...] = (values_list, objects, looked_at, get)


@contextmanager
def _in_phase(phase: str) -> Iterator[None]:
    from envelope_fields.keyring import conversions
    from envelope_fields.models import ColumnConversion

    ColumnConversion.objects.update_or_create(
        model="moving.Visit", field="report",
        defaults={"kind": "column", "phase": phase},
    )  # fmt: skip
    conversions._known = None
    yield


@contextmanager
def _rows(*models: Any) -> Iterator[None]:
    for model in models:
        _delete(model)
        bulk_create(model, range(ROWS))
    yield
    for model in models:
        _delete(model)


def _delete(model: Any) -> None:
    model.objects.all()._raw_delete("default")
