"""Which encrypted fields models have, and where they ask the database to compare or compute on one.

A declaration refers to columns by names, paths and expressions. And which columns a database writes
by itself, though values are bound to them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from django.apps import AppConfig, apps as installed_apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.models import F, Model, Q
from django.db.models.constants import LOOKUP_SEP
from django.db.models.lookups import IsNull

from envelope_fields.databases.tables import padded_columns, written_by_foreign_keys
from envelope_fields.fields import EncryptedFieldMixin, IndexedUnique
from envelope_fields.fields.bound_columns import is_text
from envelope_fields.fields.index.macs import is_index

AppConfigs = Iterable[AppConfig] | None
_BLIND_INDEX = "a blind index of the value, in a column beside it"


def checked_models(app_configs: AppConfigs) -> list[type[Model]]:
    """Return the models of the applications that are checked; None are all."""
    if app_configs is None:
        return list(installed_apps.get_models())
    return list(chain.from_iterable(app.get_models() for app in app_configs))


def all_models(app_configs: AppConfigs) -> list[type[Model]]:
    """Return the models of the whole project, whichever applications are checked."""
    registry = next((app.apps for app in app_configs or ()), None) or installed_apps
    return list(registry.get_models())


def blind_indexes(models: Iterable[type[Model]]) -> list[Any]:
    """Return each blind index once, from the model that owns the column."""
    return [field for model in models for field in model._meta.local_fields if is_index(field)]


def encrypted_fields(models: Iterable[type[Model]]) -> Iterator[Any]:
    """Yield each encrypted field once, from the model that owns the column."""
    for model in models:
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedFieldMixin):
                yield field


def encrypted_part(model: type[Model], path: str) -> tuple[Any | None, tuple[str, ...]]:
    """Return the encrypted field that a path like `patient__notes` comes upon, and its lookups."""
    options = model._meta
    names = path.split(LOOKUP_SEP)
    for place, name in enumerate(names, start=1):
        try:
            field: Any = options.pk if name == "pk" else options.get_field(name)
        except FieldDoesNotExist:  # a transform, or Django's to report
            break
        field = getattr(field, "mirrored", field)  # a column in clear that is converted
        if isinstance(field, EncryptedFieldMixin):
            return field, tuple(names[place:])
        relations = getattr(field, "path_infos", None)
        if not relations:
            break
        options = relations[-1].to_opts
    return None, ()


def encrypted_among(model: type[Model], declared: Any) -> list[Any]:
    """Return the encrypted fields that names, expressions or conditions read, each once."""
    found = (encrypted_part(model, path)[0] for path in chain.from_iterable(map(paths, declared)))
    return list(dict.fromkeys(field for field in found if field is not None))


def paths(declared: Any) -> Iterator[str]:
    """Yield the paths of the columns that a name, `F`, `Q` or other expression reads.

    What only asks whether there is a value is left out: `isnull` works on an encrypted column.
    """
    if isinstance(declared, str):
        yield declared.removeprefix("-")
    elif isinstance(declared, F):
        yield declared.name  # type: ignore[attr-defined]  # not in the stubs
    elif isinstance(declared, Q):
        for child in declared.children:
            yield from _condition(child)
    elif hasattr(declared, "get_source_expressions") and not isinstance(declared, IsNull):
        for source in declared.get_source_expressions():
            yield from paths(source)


def _condition(child: Any) -> Iterator[str]:
    if not isinstance(child, tuple):
        yield from paths(child)
        return
    path, value = child
    if value is not None and not path.endswith(f"{LOOKUP_SEP}isnull"):
        yield path
    if not isinstance(value, str):
        yield from paths(value)


# -- What models declare ---------------------------------------------------------------------------


def check_models(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check what models declare about columns, their own and those of related models."""
    return [
        message
        for model in checked_models(app_configs)
        for rule in (_indexes, _constraints, _unique, _ordering, _fields)
        for message in rule(model)
    ]


def _indexes(model: type[Model]) -> Iterator[CheckMessage]:
    for index in model._meta.indexes:
        for field in encrypted_among(model, _parts(index)):
            yield Error(
                f"The index {index.name!r} refers to the encrypted field {field}.",
                hint=f"Nothing can be found by envelopes. Remove it, and index {_BLIND_INDEX}.",
                obj=model,
                id="envelope_fields.E020",
            )


def _constraints(model: type[Model]) -> Iterator[CheckMessage]:
    for constraint in model._meta.constraints:
        for field in encrypted_among(model, _parts(constraint)):
            yield Error(
                f"The constraint {constraint.name!r} refers to the encrypted field {field}.",
                hint=(
                    "The database cannot compare values that it cannot read; whether there is "
                    f"one, with `isnull`, it can. Constrain {_BLIND_INDEX}, or use a validator."
                ),
                obj=model,
                id="envelope_fields.E021",
            )


def _parts(declared: Any) -> Iterator[Any]:
    """Yield what an index or a constraint of any kind is made of, in the database."""
    of_columns = ("include",) if isinstance(declared, IndexedUnique) else ("fields", "include")
    for part in of_columns:
        yield from getattr(declared, part, ())
    for expression in getattr(declared, "expressions", ()):
        # Those of an exclusion constraint are pairs with an operator.
        yield expression[0] if isinstance(expression, list | tuple) else expression
    yield getattr(declared, "condition", None)


def _unique(model: type[Model]) -> Iterator[CheckMessage]:
    options: Any = model._meta
    together = [name for names in _several(options.unique_together) for name in _several(names)]
    for field in encrypted_among(model, together):
        yield Error(
            f"'unique_together' refers to the encrypted field {field}.",
            hint=f"No two envelopes are equal. Replace it by {_BLIND_INDEX}.",
            obj=model,
            id="envelope_fields.E022",
        )
    for field in encrypted_among(model, getattr(options.pk, "field_names", ())):
        yield Error(
            f"The composite primary key refers to the encrypted field {field}.",
            hint="A row cannot be found by an envelope. Make the key of other fields.",
            obj=model,
            id="envelope_fields.E011",
        )


def _ordering(model: type[Model]) -> Iterator[CheckMessage]:
    for option in ("ordering", "get_latest_by"):
        declared = getattr(model._meta, option) or ()
        for field in encrypted_among(model, _several(declared)):
            if is_in_clear(field):
                yield until_the_switch(field, option, model)
                continue
            yield Error(
                f"'{option}' refers to the encrypted field {field}.",
                hint="The order of envelopes means nothing. Order by another column, or sort in "
                "Python.",
                obj=model,
                id="envelope_fields.E023",
            )


def is_in_clear(field: Any) -> bool:
    """Whether a field converts a column in clear, by which rows can be found and ordered yet."""
    return field.plain_field is not None and not field.reads_beside


def until_the_switch(field: Any, option: str, obj: Any) -> CheckMessage:
    """Return what is said of an option that works until the conversion reads what is encrypted."""
    return Warning(
        f"'{option}' refers to {field}, which is being converted.",
        hint="It goes through the column in clear, and is refused when the conversion reads what "
        "is encrypted. Remove it before, or give the field a blind index that serves it.",
        obj=obj,
        id="envelope_fields.W100",
    )


def _several(declared: Any) -> Iterable[Any]:
    return declared if isinstance(declared, list | tuple) else (declared,)


def _fields(model: type[Model]) -> Iterator[CheckMessage]:
    for field in model._meta.local_fields:
        if getattr(field, "generated", False):
            yield from _generated(model, field)
        inner = _innermost(field)
        if inner is not field and isinstance(inner, EncryptedFieldMixin):
            yield Error(
                "An encrypted field cannot be the type of an array or of a generated column.",
                hint=(
                    "The database would store its values unencrypted. Use an EncryptedArrayField "
                    "of plain fields for a list; compute a value in Python and assign it."
                ),
                obj=field,
                id="envelope_fields.E019",
            )
        yield from _unique_for(model, field)


def _innermost(field: Any) -> Any:
    """Return the field that says how the values inside a field of fields are stored."""
    while (inner := getattr(field, "base_field", None) or _output_field(field)) is not None:
        field = inner
    return field


def _output_field(field: Any) -> Any:
    return field.output_field if getattr(field, "generated", False) else None


def _generated(model: type[Model], column: Any) -> Iterator[CheckMessage]:
    for field in encrypted_among(model, [column.expression]):
        yield Error(
            f"The generated column refers to the encrypted field {field}.",
            hint="The database cannot compute on envelopes. Compute it in Python, and mind that "
            "the result is not encrypted.",
            obj=column,
            id="envelope_fields.E024",
        )


def _unique_for(model: type[Model], field: Any) -> Iterator[CheckMessage]:
    for option in ("unique_for_date", "unique_for_month", "unique_for_year"):
        dates = () if isinstance(field, EncryptedFieldMixin) else (getattr(field, option),)
        for encrypted in encrypted_among(model, dates):
            yield Error(
                f"'{option}' refers to the encrypted field {encrypted}.",
                hint="Values cannot be compared in the database. Remove it.",
                obj=field,
                id="envelope_fields.E013",
            )


# -- Columns that values are bound to, and that a database writes by itself ------------------------


def check_columns(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for columns that a database writes by itself, or changes what is written into."""
    bound = [each for each in encrypted_fields(checked_models(app_configs)) if each.is_bound]
    return [message for using in databases or () for each in bound for message in _of(each, using)]


def _of(field: Any, using: str) -> Iterator[CheckMessage]:
    if not router.allow_migrate_model(using, field.model):
        return
    columns = {column.column: column for column in field.bound_fields}
    table = field.model._meta.db_table
    for written in written_by_foreign_keys(table, using):
        if written.column in columns:
            yield Error(
                f"Values are bound to {columns[written.column]}, which the database {using!r} "
                f"itself writes ({written.action}).",
                hint="None could be read after that. Make the constraint anew without the action.",
                obj=field,
                id="envelope_fields.E029",
            )
    texts = {name for name, column in columns.items() if is_text(column)}
    for name in texts & padded_columns(table, using):
        yield Error(
            f"Values are bound to {columns[name]}, and the database {using!r} adds spaces to its "
            "texts or takes them away (char).",
            hint="What is read would be another text than was written. Make it a varchar column.",
            obj=field,
            id="envelope_fields.E027",
        )
