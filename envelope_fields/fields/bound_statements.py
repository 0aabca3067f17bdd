"""Statements that write a row in part: its bound columns without the values, or these without them.

Values that are left as they are would be lost, with columns around them that they are not bound to.
`save()` knows the object: where it writes a part of the row, the rest of it has to be as the object
has it, or no row is updated, and an error raised. Other statements know no object, and are refused
while their SQL is made; so are upserts.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import FieldError
from django.db import router
from django.db.models import F, Func, Q, TextField
from django.db.models.constants import OnConflict
from django.db.models.lookups import Exact
from django.db.models.sql import InsertQuery, UpdateQuery

from envelope_fields.databases import database
from envelope_fields.fields.bound_columns import is_text, referred
from envelope_fields.fields.patches import extend
from envelope_fields.fields.prepared import Kept

_BOUND = "envelope_fields_bound"  # in the options of a model: the fields of its table that are
_GUARDED = "envelope_fields_guarded"  # in a query: the rest of the row is looked at by it
_BEGUN = "envelope_fields_begun"  # in a query: what objects have had in bound columns at first


def watch(field: Any) -> None:
    """Have the statements of a model looked at, to which a field that is bound is added."""
    vars(field.model._meta).setdefault(_BOUND, []).append(field)
    extend(field.model, "_do_update", _guarded)
    extend(InsertQuery, "insert_values", _noting_begun)


def bound_in(model: Any) -> Sequence[Any]:
    """Return the encrypted fields in the table of a model that are bound to their rows."""
    found: Sequence[Any] = vars(model._meta.concrete_model._meta).get(_BOUND, ())
    return found


# -- Statements that know the object ---------------------------------------------------------------


def _guarded(original: Any) -> Any:
    """Have `save()` of a model leave no value behind that is bound to something else."""

    def _do_update(
        self: Any, base_qs: Any, using: str, pk_val: Any, values: Any, *args: Any, **kwargs: Any
    ) -> Any:
        _refuse_changed(_written_columns(base_qs.model, values), self)
        expected = _expected(self, base_qs.model, using, values)
        guarded = base_qs.filter(_is_as(expected, using)) if expected else base_qs
        vars(guarded.query)[_GUARDED] = True
        updated = original(self, guarded, using, pk_val, values, *args, **kwargs)
        if expected and not updated and base_qs.filter(pk=pk_val).exists():
            raise _changed(base_qs.model, expected)
        return updated

    return _do_update


def _written_columns(model: Any, values: Any) -> dict[Any, Any]:
    """Return what an UPDATE writes into columns that values are bound to."""
    bound = {column for field in bound_in(model) for column in field.bound_fields}
    return {column: value for column, _, value in values if column in bound}


def _refuse_changed(before: dict[Any, Any], instance: Any) -> None:
    """Raise if bound columns of an object are not what they were when its row began to be written.

    The fields of a row are asked for their values one after the other, and one of them may change
    what another one gives.
    """
    now = vars(instance)
    changed = {each for each, value in before.items() if value != now.get(each.attname)}
    if changed:
        fields = [each for each in bound_in(instance) if not changed.isdisjoint(each.bound_fields)]
        raise FieldError(
            f"{_listed(fields)} is bound to {_listed(changed)}, which changed while the row was "
            "made, as by pre_save() of another field. Assign it before the object is saved."
        )


def _expected(instance: Any, model: Any, using: str, values: Any) -> dict[Any, Any]:
    """Return what the row must have in columns that values are bound to, by their fields.

    Args:
        instance: the object that is saved.
        model: the one of whose table a row is updated.
        using: the database.
        values: the fields that are written, each with a model and its value.
    """
    written = {field: value for field, _, value in values}
    # For another database, values are encrypted anew with the columns that are written there.
    is_own = using == router.db_for_write(type(instance), instance=instance)
    expected: dict[Any, Any] = {}
    for field in bound_in(model):
        if field in written and written[field] is None:
            continue  # NULL is bound to nothing
        stays = field not in written or (is_own and type(written[field]) is Kept)
        for column in _but_keys(field):
            if stays == (column in written):
                present = written[column] if stays else getattr(instance, column.attname)
                if hasattr(present, "resolve_expression"):
                    raise FieldError(f"{field} is bound to {column}: give that a plain value.")
                expected[column] = present
    return expected


def _but_keys(field: Any) -> list[Any]:
    """Return the bound columns but for the primary key, by which the row is found."""
    return [each for each in field.bound_fields if each not in field.model._meta.pk_fields]


def _is_as(expected: dict[Any, Any], using: str) -> Q:
    """Return the condition that a row has these values, letter by letter."""
    condition = Q()
    for field, value in expected.items():
        if value is None:
            condition &= Q((f"{field.attname}__isnull", True))
        else:
            condition &= Q((field.attname, value)) & _letter_by_letter(field, value, using)
    return condition


def _letter_by_letter(field: Any, value: Any, using: str) -> Q:
    """Return the condition that a column has a text, where a collation compares more loosely."""
    if not is_text(field):
        return Q()
    template = database(using).EXACTLY
    column = Func(F(field.attname), template=template, output_field=TextField())
    return Q(Exact(column, field.get_prep_value(value)))


def _changed(model: Any, expected: Iterable[Any]) -> FieldError:
    columns = set(expected)
    fields = [each for each in bound_in(model) if not columns.isdisjoint(each.bound_fields)]
    return FieldError(
        f"{_listed(fields)} is bound to {_listed(columns)}: the row has another value there than "
        "the object, and this would write the one without the other. Name both in update_fields=, "
        "or leave it out; if another process has changed the row, load the object again."
    )


def _listed(fields: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, fields)))


# -- Statements that do not ------------------------------------------------------------------------


def watch_columns_of(field: Any) -> None:
    """Have the columns that a field is bound to look at each statement that writes them."""
    for column in field.bound_fields:
        if not getattr(vars(column).get("get_placeholder"), "looks", False):
            column.get_placeholder = _looking(getattr(column, "get_placeholder", _no_placeholder))
            original = getattr(column, "get_placeholder_sql", None)
            column.get_placeholder_sql = _looking(original or _value_as_sql)  # from Django 6.1 on


def _looking(original: Any) -> Any:
    def get_placeholder(value: Any, compiler: Any, connection: Any) -> Any:
        refuse_parts(compiler)
        return original(value, compiler, connection)

    vars(get_placeholder)["looks"] = True
    return get_placeholder


def _no_placeholder(value: Any, compiler: Any, connection: Any) -> str:
    return "%s"


def _value_as_sql(value: Any, compiler: Any, connection: Any) -> Any:
    return compiler.compile(value) if hasattr(value, "as_sql") else ("%s", (value,))


def _noting_begun(original: Any) -> Any:
    """Have an INSERT know what its objects have in bound columns before any field is asked."""

    def insert_values(self: Any, fields: Any, objs: Any, raw: bool = False) -> None:
        original(self, fields, objs, raw=raw)
        bound = bound_in(self.get_meta().model)
        if bound:
            vars(self)[_BEGUN] = [(each, _bound_columns_of(each, bound)) for each in objs]

    return insert_values


def _bound_columns_of(instance: Any, bound: Iterable[Any]) -> dict[Any, Any]:
    """Return what an object has in bound columns, but for those that are deferred."""
    held = vars(instance)
    columns = dict.fromkeys(column for field in bound for column in field.bound_fields)
    return {column: held[column.attname] for column in columns if column.attname in held}


def refuse_parts(compiler: Any) -> None:
    """Look at a statement that writes a bound column or a value, once.

    Raises:
        FieldError: it would leave values around columns that they are not bound to.
    """
    query: Any = compiler.query
    known = vars(compiler)
    if known.get("envelope_fields_looked_at") is query:
        return
    known["envelope_fields_looked_at"] = query
    for instance, before in vars(query).get(_BEGUN, ()):
        _refuse_changed(before, instance)
    if isinstance(query, UpdateQuery):
        if _GUARDED not in vars(query):
            _refuse_update({field: value for field, _, value in query.values}, query)  # type: ignore[attr-defined]
    elif getattr(query, "on_conflict", None) is OnConflict.UPDATE:
        _refuse_upsert(query, compiler.connection)


def _refuse_update(written: dict[Any, Any], query: Any) -> None:
    for field in bound_in(query.get_meta().model):
        columns = [column for column in field.bound_fields if column in written]
        if field not in written and columns:
            raise FieldError(
                f"{field} is bound to {_listed(columns)}, and this would write the one without the "
                "other, so that the value could not be read. Load the objects, and save() each."
            )
        missing = [column for column in _but_keys(field) if column not in written]
        if missing and written.get(field) is not None:
            raise FieldError(
                f"{field} is bound to {_listed(missing)}, and this would write the one without the "
                "other, which the row may have another value of. Write both, or save() each object."
            )


def _refuse_upsert(query: Any, connection: Any) -> None:
    """Raise if a row that is there may be written in part, or have other columns than the object.

    A value is encrypted for the object, and may come into a row that is there already.
    """
    written = set(query.update_fields)
    names_target = connection.features.supports_update_conflicts_with_target
    same = {field for field in query.unique_fields if not _is_loose(field)} if names_target else ()
    for field in bound_in(query.get_meta().model):
        if field in written:
            other = [
                each for each in field.bound_fields if each not in written and each not in same
            ]
            way_out = f"Name it in update_fields{' or unique_fields' if names_target else ''}"
        else:
            other = [each for each in field.bound_fields if each in written]
            way_out = f"Name {field.name!r} in update_fields, too"
        if other:
            raise FieldError(
                f"{field} is bound to {_listed(other)}, and this upsert may write the one without "
                f"the other into a row that is there. {way_out}, or save() each object."
            )


def _is_loose(field: Any) -> bool:
    """Whether a database may take two texts for the same, by a collation or a type of its own."""
    target = referred(field)
    is_djangos = type(target).__module__.startswith("django.db.models.")
    return is_text(field) and (bool(getattr(target, "db_collation", None)) or not is_djangos)
