"""Writing: from a value, or an expression that carries some, to the bytes that are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db import models
from django.db.models import Case, Field, JSONField, Value, When
from django.db.models.functions import Cast

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.defaults import is_historical
from envelope_fields.fields.errors import named
from envelope_fields.fields.keys import alias_for, make_key, managed_by
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.prepared import StoredCol, StoredEnvelope, Unencrypted
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.fields.validation import refusing
from envelope_fields.keyring import encrypt
from envelope_fields.keyring.rows import rolled_back_with
from envelope_fields.models import DEFAULT_ALIAS

Writer = Callable[[Unencrypted, str | None], bytes]


def writer(field: Any) -> Writer:
    """Return what encrypts the values of a field.

    It is given a value that is not None as a prepared one, with the row that it belongs to where
    there is one, and the database that it goes to, None when it leaves for elsewhere. No name in
    it ever holds the value itself: an error report would show it. It returns an envelope.

    It raises:
        FieldError: the field takes its key from the row, and there is none; or the value is
            what stands for one.
        TypeError, ValueError: the field cannot store the value.
        EnvelopeError: as `keyring.encrypt` raises it, naming the field.
    """
    bound = field.is_bound
    unbound_context = b"" if bound else field.contexts[0]
    chosen = DEFAULT_ALIAS if field.key is None else field.key
    is_alias, field_path, manager = isinstance(chosen, str), field.field_path, managed_by(chosen)
    plaintext_of = refusing(field, guarded(field))

    def write(prepared: Unencrypted, using: str | None) -> bytes:
        alias = chosen if is_alias else alias_for(field, prepared.instance)
        context = context_for(field, prepared.instance, using) if bound else unbound_context
        goes_with = rolled_back_with(field.model, using)
        try:
            return encrypt(alias, plaintext_of, prepared, context, goes_with, field_path, manager)
        except EnvelopeError as error:
            make_key(field, alias, using, error)
        goes_with = rolled_back_with(field.model, using)
        try:
            return encrypt(alias, plaintext_of, prepared, context, goes_with, field_path, manager)
        except EnvelopeError as problem:
            raise named(field, problem) from problem

    return write


def context_for(field: Any, instance: Any, using: str | None) -> bytes:
    """Return the context of a value that is written for a row.

    Raises:
        ImproperlyConfigured: the field cannot be bound to one of its columns.
        FieldError: there is no row, or one of the columns that the field is bound to has no value
            that could be known now.
    """
    field.bindings  # noqa: B018 - it raises, before the columns are looked at
    if instance is None:
        names = ", ".join(repr(each.name) for each in field.bound_fields)
        raise FieldError(
            f"{field} is bound to columns of its row ({names}), and Django gives none here. Use "
            "save() or bulk_create(); for bulk_update(), a manager made of "
            "envelope_fields.fields.EncryptedQuerySet." + _advice(field)
        )
    try:
        context: bytes = field.context_of(field.row_of(instance), using)
        return context
    except (TypeError, ValueError, ValidationError) as error:
        raise FieldError(
            f"{field} cannot be bound to its row: a column that it is bound to has no valid value "
            f"({type(error).__name__}). Assign one before the object is saved."
        ) from error


def _advice(field: Any) -> str:
    """Return what to do in a migration that adds a column to a table with rows."""
    if not is_historical(field.model):
        return ""
    return (
        " To give all rows of a table the same default, add the column without bind_to=, and bind "
        "it after, with previous_bindings=[()]; or let it be NULL, and save() the objects."
    )


ToPlaintext = Callable[[Any], bytes]


def guarded(field: Any) -> ToPlaintext:
    """Return `field.to_plaintext`, raising what names the field and holds nothing of the value.

    It raises:
        TypeError, ValueError: the field cannot store the value.
    """
    to_plaintext: ToPlaintext = field.to_plaintext
    if type(field).__module__.startswith("envelope_fields."):
        return to_plaintext  # which raises nothing else

    def guard(value: Any) -> bytes:
        try:
            plaintext = to_plaintext(value)
            if isinstance(plaintext, bytes):
                return plaintext
            problem: Exception = TypeError(
                f"{field}: to_plaintext() returned {type(plaintext).__name__} instead of bytes."
            )
            del plaintext
        except Exception as error:
            problem = _without_value(field, error)
        del value  # outside of `except`: what was raised there may hold it
        raise problem

    return guard


def _without_value(field: Any, error: Exception) -> Exception:
    """Return an error that may be shown: with its message where a field of ours made that."""
    kind = TypeError if isinstance(error, TypeError | AttributeError) else ValueError
    if str(error).startswith(f"{field}: ") and _is_raised_by_us(error):
        return kind(str(error))
    return kind(
        f"{field}: this is not a value that the field can store: to_plaintext() raised "
        f"{type(error).__name__}."
    )


def _is_raised_by_us(error: Exception) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return str(module).startswith("envelope_fields.")


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


class _NotAdmitted(Exception):
    """The database would store the result of an expression of this class."""


def admit(field: Field[Any, Any], prepared: Unencrypted) -> Any:
    """Return a resolved expression that encrypts, and the one to write in its place.

    Admitted are values of this very field, what `bulk_update` builds of them, NULL, and what stands
    for the stored value of a masked one. The types are compared exactly: a subclass may make SQL
    that says something else.

    Args:
        field: the field that is written.
        prepared: has what Django is about to compile; of JSON null, it is what is encrypted.

    Raises:
        FieldError: it would store something unencrypted, or copy an envelope.
    """
    try:
        return _admitted(field, prepared.value, prepared)
    except _NotAdmitted as refusal:
        kind = str(refusal)
    # Raised from here: variables below have the expression, whose repr shows values.
    raise FieldError(
        f"{field} is encrypted: the database would store the result of {kind}() as it "
        f"is. Assign plain Python values; inside an expression, write "
        f"Value(…, output_field={field.model.__name__}._meta.get_field({field.name!r}))."
    )


def _admitted(field: Field[Any, Any], expression: Any, json_null: Any) -> Any:
    kind = type(expression)
    if kind is StoredCol and expression.target == field:
        return expression
    if is_json_null(field, expression) and expression.output_field != field:
        return _value(json_null, field)
    if kind is Value and _is_of(field, expression):
        return _carrying(expression, field)
    if kind is Case:
        expression.cases = [_admitted(field, case, json_null) for case in expression.cases]
        expression.default = _admitted(field, expression.default, json_null)
        return _typed(expression, field)
    if kind is When:
        expression.result = _admitted(field, expression.result, json_null)
        return _typed(expression, field)
    if kind is Cast and expression.output_field == field:
        sources = [_admitted(field, each, json_null) for each in expression.source_expressions]
        expression.set_source_expressions(sources)
        return _typed(expression, field)
    raise _NotAdmitted(kind.__name__)


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

    Raises:
        FieldError: it is a sealed one.
    """
    content = value.value
    if isinstance(content, SealedValue):
        raise FieldError(
            f"{field}: Value() was given a sealed value. Give it what the attribute of the object "
            "gives when it is read, which opens the value."
        )
    if content is None or isinstance(content, Unencrypted | StoredEnvelope | Mask):
        return value if _output_field(value) is None else _value(content, field)
    return _value(Unencrypted(content, None), field)


def _value(content: Any, field: Any) -> Value:
    return Value(content, output_field=field.binary).resolve_expression(for_save=True)
