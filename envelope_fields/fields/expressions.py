"""Which expressions may be written into an encrypted column: those that encrypt what they carry.

The types are compared exactly: a subclass may make SQL that says something else.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError
from django.db import models
from django.db.models import Case, Field, JSONField, Value, When
from django.db.models.functions import Cast

from envelope_fields.fields.masks import Mask, StoredCol
from envelope_fields.fields.prepared import StoredEnvelope, Unencrypted

# Django 6.1 has an expression of its own for JSON null.
_JSON_NULL = getattr(models, "JSONNull", None)


def is_json_null(field: Field[Any, Any], expression: Any) -> bool:
    """Whether an expression means, to this field, JSON's `null` as opposed to SQL's NULL."""
    if not isinstance(field, JSONField):
        return False
    if _JSON_NULL is not None and type(expression) is _JSON_NULL:
        return True
    return (
        type(expression) is Value
        and expression.value is None
        and isinstance(_output_field(expression), JSONField)
    )


def admit(field: Field[Any, Any], expression: Any, json_null: Any) -> Any:
    """Return a resolved expression that encrypts, and the one to write in its place.

    Admitted are values of this very field, what `bulk_update` builds of them, NULL, and what stands
    for the stored value of a masked one.

    Args:
        field: the field that is written.
        expression: what Django is about to compile.
        json_null: what stands for JSON null on its way to be encrypted.

    Raises:
        FieldError: it would store something unencrypted, or copy an envelope.
    """
    kind = type(expression)
    if kind is StoredCol and expression.target == field:
        return expression
    if is_json_null(field, expression) and expression.output_field != field:
        return _value(json_null, field)
    if kind is Value and _is_of(field, expression):
        return _carrying(expression, field)
    if kind is Case:
        expression.cases = [admit(field, case, json_null) for case in expression.cases]
        expression.default = admit(field, expression.default, json_null)
        return _typed(expression, field)
    if kind is When:
        expression.result = admit(field, expression.result, json_null)
        return _typed(expression, field)
    if kind is Cast and expression.output_field == field:
        sources = [admit(field, source, json_null) for source in expression.source_expressions]
        expression.set_source_expressions(sources)
        return _typed(expression, field)
    raise FieldError(
        f"{field} is encrypted: the database would store the result of {kind.__name__}() as it "
        f"is. Assign plain Python values; inside an expression, write "
        f"Value(…, output_field={field.model.__name__}._meta.get_field({field.name!r}))."
    )


def _is_of(field: Field[Any, Any], value: Value) -> bool:
    output_field = _output_field(value)
    return output_field == field or (output_field is None and value.value is None)


def _output_field(value: Any) -> Any:
    return value._output_field_or_none


def _typed(expression: Any, field: Any) -> Any:
    """Return an expression that databases compile as the bytes that it gives.

    SQLite casts what is of a numeric type, and PostgreSQL what is a UUID or a time.
    """
    expression.output_field = field.binary
    return expression


def _carrying(value: Value, field: Field[Any, Any]) -> Value:
    """Return a value that is told from a default which a migration asks for, and no row will hold.

    Masks stay what they are, and are refused for it.
    """
    content = value.value
    if content is None or isinstance(content, Unencrypted | StoredEnvelope | Mask):
        return value if _output_field(value) is None else _value(content, field)
    return _value(Unencrypted(content, None), field)


def _value(content: Any, field: Any) -> Value:
    return Value(content, output_field=field.binary).resolve_expression(for_save=True)
