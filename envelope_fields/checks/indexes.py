"""Blind indexes: constraints and relations that name them, what they show, and what they lack."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import DatabaseError, connections, router, transaction
from django.db.models import Model

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, blind_indexes, checked_models
from envelope_fields.crypto.format import OVERHEAD_BYTES
from envelope_fields.databases import database, is_configured
from envelope_fields.databases.errors import says_no_column, says_no_table
from envelope_fields.fields import BlindIndexField, EncryptedFieldMixin, IndexedUnique
from envelope_fields.fields.index.macs import is_index
from envelope_fields.fields.index.uniqueness import declared, lost_with
from envelope_fields.models import BlindIndex, IndexState


def check_indexes(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check what models declare about blind indexes, but for what an index can tell by itself."""
    return [
        message
        for model in checked_models(app_configs)
        for rule in (_constraints, _together, _indexed_unique, _replaced, _relations)
        for message in rule(model)
    ]


def _constraints(model: type[Model]) -> Iterator[CheckMessage]:
    for constraint in model._meta.constraints:
        if not isinstance(constraint, IndexedUnique):
            yield from _named(model, getattr(constraint, "fields", ()), repr(constraint.name))


def _together(model: type[Model]) -> Iterator[CheckMessage]:
    together: Any = model._meta.unique_together
    for names in together if isinstance(together, list | tuple) else ():  # else Django says so
        yield from _named(model, names, "'unique_together'")


def _named(model: type[Model], names: Any, where: str) -> Iterator[CheckMessage]:
    for name in names:
        field = _field(model, name)
        if isinstance(field, BlindIndexField):
            yield Error(
                f"{where} names the blind index {field}.",
                hint="Forms would not validate it. Write IndexedUnique(fields=[…]) of the "
                "encrypted fields; for one alone, unique=True of its index.",
                obj=model,
                id="envelope_fields.E084",
            )


def _indexed_unique(model: type[Model]) -> Iterator[CheckMessage]:
    for constraint in declared(model):
        try:
            columns = constraint.columns(model)
        except (FieldError, FieldDoesNotExist) as error:
            yield Error(str(error), obj=model, id="envelope_fields.E085")
            continue
        for index in filter(is_index, columns):
            if index.normal.lossy:
                yield Error(
                    f"{constraint.name!r} is over {index}, and different values have the same "
                    f"normal form by {index.normal.name!r}.",
                    hint="Name the encrypted field, with an index of the whole value.",
                    obj=model,
                    id="envelope_fields.E085",
                )


def _replaced(model: type[Model]) -> Iterator[CheckMessage]:
    for index in model._meta.local_fields:
        if not isinstance(index, BlindIndexField) or len(index.replacing) != 1:
            continue
        try:
            lost = lost_with(index)
        except (FieldError, FieldDoesNotExist):  # E085 says so
            continue
        if lost:
            yield Error(
                f"{index} keeps values unique, and {index.replacing[0]}, which replaces it, "
                "would not.",
                hint=f"Declare {'; '.join(lost)}.",
                obj=index,
                id="envelope_fields.E083",
            )


def _relations(model: type[Model]) -> Iterator[CheckMessage]:
    for field in model._meta.local_fields:
        remote: Any = field.remote_field
        if remote is None or isinstance(remote.model, str):
            continue
        target = _field(remote.model, getattr(remote, "field_name", None))
        if isinstance(target, EncryptedFieldMixin | BlindIndexField):
            yield Error(
                f"The relation refers to {target}, which is encrypted or the index of what is.",
                hint="A relation would copy it into another table. Refer to the primary key.",
                obj=field,
                id="envelope_fields.E086",
            )


def _field(model: Any, name: Any) -> Any:
    try:
        return model._meta.get_field(name) if name else None
    except FieldDoesNotExist:  # which Django reports
        return None


# -- Their rows: how often each value occurs, and which lack one ----------------------------------


FEW = 32
MOST = 10_000  # rows without an index that are looked at
_LEAVE_NO_VALUE_OUT = ("exact", "casefold", "email")  # but for an empty one


def check_frequencies(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for blind indexes that tell by frequency which value is which."""
    indexes = blind_indexes(checked_models(app_configs))
    return [
        Warning(
            f"{index} has few different values in the database {using!r} ({different}), and shows "
            "how often each occurs.",
            hint="One who reads the database can tell which is which by that. Remove the index, "
            "or index the field together with another.",
            obj=index,
            id="envelope_fields.W081",
        )
        for using in databases or ()
        for index in indexes
        if not index.unique  # where no value comes twice
        if (different := _counted(_few_values, index, using))
    ]


def check_unindexed_rows(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for rows that have a value and no index, where lookups ask the index."""
    declared = [
        each for each in blind_indexes(checked_models(app_configs)) if _has_all_values(each)
    ]
    keys = keys_database(databases, BlindIndex) if declared else None
    if keys is None:
        return []
    begun = BlindIndex.objects.using(keys).filter(state=IndexState.READING)
    reading = set(begun.values_list("label", flat=True))
    return [
        Warning(
            f"{index} lacks rows in the database {using!r} that have a value ({missing:,}): no "
            "lookup finds them, and nothing keeps them unique.",
            hint="A build that does not know the index has written them, or SQL of your own. End "
            f"that, and run `python manage.py rebuild_indexes {index.field_path}`, which fills it "
            "while lookups ask it, and lists rows whose values are there twice. Where the values "
            "were restored from before the index was filled, bring it `--to filling` first, which "
            "has lookups refused that would find nothing, and then `--to reading`.",
            obj=index,
            id="envelope_fields.W082",
        )
        for using in databases or ()
        for index in declared
        if index.field_path in reading and (missing := _counted(_unindexed, index, using))
    ]


def _counted(count: Callable[[Any, str], int], index: Any, using: str) -> int:
    """Return what is counted of an index in a database; 0 where its table is not there yet."""
    may_be_there = router.allow_migrate_model(using, index.model)
    if not may_be_there or not is_configured(connections[using]):
        return 0
    try:
        with transaction.atomic(using=using):
            return count(index, using)
    except DatabaseError as error:
        if says_no_table(error) or says_no_column(error):  # before a migration
            return 0
        raise


def _few_values(index: Any, using: str) -> int:
    """Return how many different values there are; 0 if they are many, or so few rows say nothing.

    It looks at as many entries of the database's index as there are different values, and at no
    more than `FEW`, however many rows there are.
    """
    if len(_values(index, using, FEW)) < FEW:
        return 0
    different = sum(1 for _ in islice(_different_values(index, using), FEW))
    return different if different < FEW else 0


def _different_values(index: Any, using: str) -> Iterator[Any]:
    # DISTINCT would read the index to its end where there are few.
    found = _values(index, using, 1)
    while found:
        yield from found
        found = _values(index, using, 1, after=found[0])


def _values(index: Any, using: str, most: int, after: Any = None) -> list[Any]:
    """Return the first values in the order of the column, or those that follow a value."""
    quote = connections[using].ops.quote_name
    column, table = quote(index.column), quote(index.model._meta.db_table)
    condition, params = ("IS NOT NULL", []) if after is None else ("> %s", [after])
    rows = database(using).fetch(
        f"SELECT {table}.{column} FROM {table} WHERE {table}.{column} {condition} "  # noqa: S608
        f"ORDER BY {table}.{column} LIMIT {most}",
        params,
    )
    return [value for (value,) in rows]


def _has_all_values(index: Any) -> bool:
    """Whether each value is in an index that is not empty."""
    try:
        sources = index.sources
    except FieldError:  # E080 says so
        return False
    return index.normalizer in _LEAVE_NO_VALUE_OUT and not any(source.path for source in sources)


def _unindexed(index: Any, using: str) -> int:
    """Return how many rows have a value and no index, of the first that have none."""
    quote = connections[using].ops.quote_name
    columns = [f"stored.{quote(source.field.column)}" for source in index.sources]
    named = [f"{column} AS value_{number}" for number, column in enumerate(columns)]
    given = [f"length(value_{number}) > {OVERHEAD_BYTES}" for number in range(len(columns))]
    sql = (
        f"SELECT count(*) FROM (SELECT {', '.join(named)} "  # noqa: S608 - names are quoted
        f"FROM {quote(index.model._meta.db_table)} AS stored "
        f"WHERE stored.{quote(index.column)} IS NULL LIMIT {MOST}) AS unindexed "
        f"WHERE {' AND '.join(given)}"
    )
    [[missing]] = database(using).fetch(sql)
    return int(missing)
