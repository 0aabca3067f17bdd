"""What a statement writes of an encrypted field, as the value that it is.

A column beside the encrypted one is made of it: that of a blind index, or one in clear.
"""

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from django.core.exceptions import FieldError
from django.db import router
from django.db.models import Case, Expression, Model, Value, When
from django.db.models.base import ModelState

from envelope_fields.fields.masks import refuse_mask
from envelope_fields.fields.prepared import Kept, StoredCol, StoredEnvelope, Unencrypted
from envelope_fields.fields.sealed import MISSING, SealedValue
from envelope_fields.fields.storing import as_prepared
from envelope_fields.fields.writing import is_json_null


def plain_value(field: Any, value: Any) -> Any:
    """Return the value behind what a statement is given for a field.

    Raises:
        FieldError: the database alone knows it; or it is a mask.
        EnvelopeError: it does not open.
    """
    if is_json_null(field, value):
        return None
    if type(value) in (Value, Unencrypted):
        return plain_value(field, value.value)
    if isinstance(value, Kept):
        value = value.sealed
    elif isinstance(value, StoredEnvelope):
        row = MISSING if value.instance is None else field.row_of(value.instance)
        value = SealedValue(field, value.envelope, None, row)
    if isinstance(value, SealedValue):
        value = value.open()
    refuse_mask(field, value)
    if hasattr(value, "resolve_expression"):
        raise not_computed(field, value)
    return value


def not_computed(field: Any, expression: Any) -> FieldError:
    """Return the error for an expression whose value is not known here."""
    beside = "has a blind index" if field.indexes else "is written into a column in clear, too"
    return FieldError(
        f"{field} {beside}, and what {type(expression).__name__}() gives is known to the "
        "database alone. Assign plain Python values."
    )


def held_in(field: Any, instance: Model) -> Any:
    """Return what an object holds of a field; a value that is deferred is loaded."""
    held = vars(instance).get(field.attname, MISSING)
    return getattr(instance, field.attname) if held is MISSING else held


def row_of(value: Any) -> Model | None:
    """Return the object that a value travels with, if there is one."""
    if type(value) is Value:
        return row_of(value.value)
    travels = isinstance(value, Unencrypted | Kept | StoredEnvelope)
    return value.instance if travels else None


def resolved(value: Any, query: Any) -> Any:
    """Return what is written as it is compiled: for the table of a parent, it was not resolved."""
    if not hasattr(value, "resolve_expression"):
        return value
    return value.resolve_expression(query, allow_joins=False, for_save=True)


def stays(value: Any, connection: Any) -> bool:
    """Whether what is written of a value leaves its column as it is."""
    if type(value) is Value:
        return stays(value.value, connection)
    if isinstance(value, StoredCol):
        return True
    if not isinstance(value, Kept):
        return False
    instance = value.instance
    return bool(connection.alias == router.db_for_write(type(instance), instance=instance))


def case_like(case: Case, results: Iterable[Any], default: Any, output_field: Any) -> Case:
    """Return a CASE with the conditions of another one.

    Args:
        case: the other one.
        results: what each of its conditions gives.
        default: what is given where none is met.
        output_field: of which field that is.
    """
    made = case.copy()
    pairs = zip(case.cases, results, strict=True)
    made.cases = [_when_like(when, result, output_field) for when, result in pairs]
    made.default = default
    made.output_field = output_field
    return made


def _when_like(when: When, result: Any, output_field: Any) -> When:
    made = when.copy()
    made.result = result
    made.output_field = output_field
    return made


def inside_cast(cast: Any) -> Any:
    """Return what a CAST is of."""
    (inner,) = cast.get_source_expressions()
    return inner


class OwnColumn(Expression):
    """A column of the row that is written, as it is.

    Args:
        field: its field.
    """

    def __init__(self, field: Any) -> None:
        super().__init__(output_field=field)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return str(connection.ops.quote_name(self.output_field.column)), ()


# -- Values that a field makes while its row is saved ----------------------------------------------

# As a `pre_save()` of a project's own may. An object need not have them: Django stores what it
# returns, and columns beside the encrypted one are made of the same.

_OURS = "envelope_fields."
_DJANGOS = "django.db.models.fields"  # whose objects have what they return

# By the state of an object and not in it, so that no pickle has a value twice.
_inserted: WeakKeyDictionary[ModelState, dict[Any, Any]] = WeakKeyDictionary()


def makes_values(field: Any) -> bool:
    """Whether a field may store another value than its object has."""
    return not maker(type(field).__mro__).__module__.startswith(_DJANGOS)


def plain_class_makes_values(field: Any) -> bool:
    """Whether the plain class that an encrypted field extends has a say in what is stored.

    Then a value that no code looked at is not left alone before that class was asked.
    """
    kinds = type(field).__mro__
    ours = [place for place, each in enumerate(kinds) if each.__module__.startswith(_OURS)]
    return not maker(kinds[ours[-1] :]).__module__.startswith(_DJANGOS)


def maker(kinds: Iterable[type]) -> type:
    """Return the class, of those that are not ours, whose `pre_save()` makes a value."""
    plain = (each for each in kinds if not each.__module__.startswith(_OURS))
    return next(each for each in plain if "pre_save" in vars(each))


def noting(field: Any) -> Callable[[Model, bool], Any]:
    """Return the `pre_save()` of a field that makes values: it notes what goes into a new row."""
    pre_save = type(field).pre_save

    def noted(model_instance: Model, add: bool) -> Any:
        made = Unencrypted(pre_save(field, model_instance, add), model_instance)
        prepared = as_prepared(field, made)
        if add and (field.indexes or field.converted is not None):
            _inserted.setdefault(model_instance._state, {})[field] = prepared
        return prepared

    return noted


def inserted(field: Any, instance: Model) -> Any:
    """Return what an INSERT writes of a field that makes values; MISSING of any other."""
    return _inserted.get(instance._state, {}).get(field, MISSING)
