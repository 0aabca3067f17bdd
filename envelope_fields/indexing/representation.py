"""What is said of a blind index, as plain data: the same in commands, the admin and the API."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from envelope_fields import models
from envelope_fields.census import CensusRow, count_columns, representation as census
from envelope_fields.census.columns import index_columns
from envelope_fields.census.indexes import missing_in, tables_of_index
from envelope_fields.conf import configuration
from envelope_fields.indexing.collisions import Looked
from envelope_fields.indexing.rows import IndexedTable
from envelope_fields.indexing.runs import KINDS
from envelope_fields.jobs.representation import Progress, key_content, progress_of
from envelope_fields.jobs.runs import all_runs
from envelope_fields.lifecycle.index_states import possible_states
from envelope_fields.lifecycle.representation import version_id_of

KEYS_SHOWN = 100  # of an index with a search key for each tenant


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a blind index is."""

    row: models.BlindIndex
    field: Any  # None where it is in no model any more
    pins: Sequence[models.BlindIndexKey]
    run: models.RotationRun | None  # that is not over
    verification: models.RotationRun | None  # the last run that has compared every row
    compared: Progress | None  # what that has found

    @property
    def is_verified(self) -> bool:
        """Whether every row was found right, since it began to be filled."""
        if self.row.state != models.IndexState.FILLING:
            return self.row.state != models.IndexState.RETIRED
        found = self.verification
        is_new = found is not None and found.created_at >= self.row.state_changed_at
        return is_new and self.compared is not None and not self.compared.failed


def begun_indexes() -> QuerySet[models.BlindIndex]:
    """Return the indexes that are begun, from where keys live."""
    return models.BlindIndex.objects.using(configuration().database)


def indexes_of(keys: QuerySet[models.MasterKey]) -> QuerySet[models.BlindIndex]:
    """Return the indexes all of whose search keys are in a queryset."""
    pins = models.BlindIndexKey.objects.using(configuration().database).filter(
        name=OuterRef("name")
    )
    return begun_indexes().filter(~Exists(pins.exclude(master_key__in=keys.values("pk"))))


def declared_indexes() -> dict[str, Any]:
    """Return the fields of all blind indexes, by their labels."""
    fields: list[Any] = [column.field for column in index_columns()]
    return {field.field_path: field for field in fields}


def standings(rows: Iterable[models.BlindIndex]) -> list[Standing]:
    """Return how far some indexes are, in as many queries as for one."""
    rows, declared = list(rows), declared_indexes()
    pins, runs = _pins({row.name for row in rows}), _runs()
    under_way = {label: _first(mine, lambda run: run.is_active) for label, mine in runs.items()}
    compared = {label: _first(mine, _has_compared) for label, mine in runs.items()}
    verified = [run for run in compared.values() if run is not None]
    found = {run.pk: each for run, each in zip(verified, progress_of(verified), strict=True)}
    return [
        Standing(
            row=row,
            field=declared.get(row.label),
            pins=pins[row.name],
            run=under_way.get(row.label),
            verification=(run := compared.get(row.label)),
            compared=None if run is None else found[run.pk],
        )
        for row in rows
    ]


def standing(row: models.BlindIndex) -> Standing:
    """Return how far an index is."""
    return standings([row])[0]


def _first(runs: Sequence[models.RotationRun], wanted: Any) -> models.RotationRun | None:
    return next(filter(wanted, runs), None)


def _has_compared(run: models.RotationRun) -> bool:
    return (
        run.kind == models.RotationKind.VERIFY_INDEX and run.state == models.RotationState.COMPLETED
    )


def _runs() -> dict[str, list[models.RotationRun]]:
    """Return the runs of indexes by their labels, the newest first."""
    found = defaultdict(list)
    for run in all_runs().filter(kind__in=KINDS):
        found["".join(run.only_fields).lower()].append(run)
    return found


def _pins(names: Collection[str]) -> dict[str, list[models.BlindIndexKey]]:
    rows = models.BlindIndexKey.objects.using(configuration().database).filter(name__in=names)
    found = defaultdict(list)
    for pin in rows.select_related("master_key", "version__master_key").order_by("name", "pk"):
        found[pin.name].append(pin)
    return found


def pinned_to(key: models.MasterKey) -> list[tuple[models.BlindIndex, int]]:
    """Return the indexes that are pinned to a search key, with the number of the version."""
    pins = models.BlindIndexKey.objects.using(configuration().database).filter(master_key=key)
    numbers = dict(pins.values_list("name", "version__number"))
    rows = begun_indexes().filter(name__in=numbers).order_by("label")
    return [(row, numbers[row.name]) for row in rows]


# As plain data


def index_content(found: Standing) -> dict[str, Any]:
    """Return how far an index is, and what it is made of."""
    row, field = found.row, found.field
    return {
        "label": row.label,
        "fields": []
        if field is None
        else [f"{field.model._meta.label}.{path}" for path in field.fields],
        "state": str(row.state),
        "state_changed_at": row.state_changed_at,
        "created_at": row.created_at,
        "next": list(map(str, possible_states(row.state))),
        "declared": field is not None,
        "unique": field is not None and field.unique,
        "normalizer": row.normalizer,
        "normalizer_version": row.normalizer_version,
        "scope": [] if field is None else list(field.scope),
        "shared": None if field is None else field.shared,
        "replaces": None if field is None else field.replaces,
        "keys": [_pin_content(pin) for pin in found.pins[:KEYS_SHOWN]],
        "verified": found.is_verified,
        "verification": _verification_content(found),
        "run": None if found.run is None else str(found.run.pk),
    }


def _pin_content(pin: models.BlindIndexKey) -> dict[str, Any]:
    return {
        **key_content(pin.master_key),
        "version": pin.version.number,
        "version_id": version_id_of(pin.version),
    }


def _verification_content(found: Standing) -> dict[str, Any] | None:
    run, compared = found.verification, found.compared
    if run is None or compared is None:
        return None
    return {
        "run": str(run.pk),
        "finished_at": run.finished_at,
        "rows": compared.total,
        "wrong": compared.failed,
    }


def counted_content(found: Standing) -> dict[str, Any]:
    """Return the same with how many rows are under each key version, and how many have none.

    Raises:
        CensusFailed: they could not be counted.
    """
    rows: list[CensusRow] = []
    missing = None
    if found.field is not None:
        rows = count_columns(tables_of_index(found.field))
        missing = missing_in(found.field)
    return {
        **index_content(found),
        "rows": [
            {name: content[name] for name in _OF_ROW} for content in map(census.row_content, rows)
        ],
        "missing": missing,
    }


_OF_ROW = ("database", "schema", "version_id", "key", "key_id", "number", "state", "current",
           "values")  # fmt: skip


def collisions_content(table: IndexedTable, looked: Iterable[Looked]) -> dict[str, Any]:
    """Return which rows of a table have the same normal form; nothing of their values."""
    looked = list(looked)
    return {
        "label": table.index.field_path,
        "database": table.using,
        "schema": table.schema,
        "unique": table.index.unique,
        "values": sum(batch.values for batch in looked),
        "collisions": [asdict(each) for batch in looked for each in batch.collisions],
        "failed": [
            {"row": row, "message": message} for batch in looked for row, message in batch.failed
        ],
    }
