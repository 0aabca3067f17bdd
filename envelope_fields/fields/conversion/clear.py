"""The field of a column in clear that an encrypted field converts.

It is the field that the model declares, given more to do: its class becomes one of its own, with
the same name. What Django and others know fields by, stays.
"""

from functools import cache
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, CharField, DecimalField, Field, Model, TextField
from django.db.models.functions import Cast
from django.db.models.sql import InsertQuery, UpdateQuery

from envelope_fields.fields.conversion import statements
from envelope_fields.fields.conversion.attribute import (
    MIRRORED,
    ClearAttribute,
    MirroredRow,
    mirrored_row,
    refused,
)
from envelope_fields.fields.conversion.columns import Mirror, MirrorCol
from envelope_fields.fields.prepared import PLAIN_TYPES, Unencrypted
from envelope_fields.fields.types import FieldBase
from envelope_fields.fields.written import maker

# `bulk_update` gives what its objects show, which is what the encrypted field has.
_OF_BULK_UPDATE = (Case, Cast)
_PREPARING = ("get_db_prep_save", "get_db_prep_value", "get_prep_value", "to_python")


def _never() -> Any:
    # Not left to the declaration: dumps, forms and serializers would have each value twice.
    return property(lambda field: False, lambda field, value: None)


class ClearFieldMixin(FieldBase):
    """Has a field in clear show and write what the encrypted field beside it has."""

    values: Any  # the encrypted field
    mirror: Any  # what stands for this field in queries
    is_taken_at_once: bool  # whether nothing makes a value while its row is saved
    takes_text_as_it_is: bool  # whether a text is prepared already
    has_placeholder: bool  # whether values have another one than others do
    plain_class: Any  # that the field was declared of

    editable = _never()
    serialize = _never()

    # Declaration

    def contribute_to_class(self, cls: type[Model], name: str, **options: Any) -> None:  # type: ignore[override]
        # A copy of it in another model is a field as any other, unless that converts it, too.
        self.__class__ = self.plain_class
        _forget(self)
        self.contribute_to_class(cls, name, **options)

    def deconstruct(self) -> Any:
        return _as_declared(self).deconstruct()

    def clone(self) -> Any:
        return _as_declared(self).clone()

    @property
    def mirrored(self) -> Any:
        """The encrypted field, as what checks find under this name, too."""
        return self.values

    # Objects

    def get_default(self) -> Any:
        return MIRRORED

    def clean(self, value: Any, model_instance: Model | None) -> Any:
        return MIRRORED

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        if model_instance.__dict__.get(self.attname) is MIRRORED:
            return MirroredRow(model_instance)
        return mirrored_row(self, model_instance)

    def prepared_raw(self, instance: Model) -> Any:
        """Return what stands for the value of an object that is saved as it is."""
        return mirrored_row(self, instance)

    # Queries and statements

    def get_col(self, alias: str, output_field: Any = None) -> MirrorCol:
        return MirrorCol(alias, self, output_field)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        # No name here holds the value itself: an error report would show it.
        if type(value) is MirroredRow:
            name = self.values.attname
            if not self._is_at_hand(value.instance, name):
                return statements.InClear(self, value)
            if not self.values.phase(connection.alias).writes_old:
                return statements.NothingInClear(self)
            if self.takes_text_as_it_is and type(value.instance.__dict__[name]) is str:
                return value.instance.__dict__[name]
            return self._prepared(value.instance.__dict__[name], connection).value
        if type(value) is Unencrypted:  # of an UPDATE that was completed
            is_written = self.values.phase(connection.alias).writes_old
            nothing = statements.NothingInClear(self)
            return self._prepared(value.value, connection).value if is_written else nothing
        if value is None or value is MIRRORED:
            return None  # the schema editor asks what rows have that are there already
        if type(value) in _OF_BULK_UPDATE:
            return statements.InClear(self, MirroredRow(None))
        del value  # error reports show variables
        raise refused(self)

    def compiled_in_clear(
        self, content: Unencrypted, compiler: Any, connection: BaseDatabaseWrapper
    ) -> tuple[str, Any]:
        """Return SQL for a value that is not None, as the plain field makes it."""
        prepared = self._prepared(content.value, connection)
        return _compiled(self.plain_class, self, prepared, compiler, connection)

    def _is_at_hand(self, instance: Any, name: str) -> bool:
        """Whether an object has the value now that its row will have: most do, of a plain type."""
        return (
            instance is not None
            and type(instance.__dict__.get(name)) in PLAIN_TYPES
            and self.is_taken_at_once
        )

    def _prepared(self, value: Any, connection: BaseDatabaseWrapper) -> Unencrypted:
        """Return a value as the plain field prepares it, and raise nothing that has it."""
        try:
            if isinstance(self, DecimalField):  # databases round in another way
                value = self.values.meant_by(value)
            return Unencrypted(super().get_db_prep_save(value, connection), None)
        except (TypeError, ValueError, ArithmeticError, ValidationError) as error:
            failure = type(error)
        del value  # error reports show variables
        kind = TypeError if issubclass(failure, TypeError) else ValueError
        raise kind(
            f"{self.values}: this is not a value that its column in clear can store "
            f"({failure.__name__})."
        )

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> str:
        problem = None if statements.is_insert(compiler.query) else self._problem(value, compiler)
        if problem is not None:
            del value  # error reports show variables
            raise problem
        if not self.has_placeholder or hasattr(value, "as_sql"):
            return "%s"
        placeholder: str = self.plain_class.get_placeholder(self, value, compiler, connection)
        return placeholder

    def get_placeholder_sql(  # the same for Django 6.1 and later
        self, value: Any, compiler: Any, connection: BaseDatabaseWrapper
    ) -> Any:
        problem = self._problem(value, compiler)
        if problem is not None:
            del value
            raise problem
        if hasattr(value, "as_sql"):
            return compiler.compile(value)
        if hasattr(self.plain_class, "get_placeholder_sql"):
            return self.plain_class.get_placeholder_sql(self, value, compiler, connection)
        return "%s", (value,)

    def _problem(self, value: Any, compiler: Any) -> FieldError | None:
        """Return why a statement is refused that would write a value of this column by itself.

        What has SQL of its own looks at that itself.
        """
        query = compiler.query
        if isinstance(query, InsertQuery):
            try:
                statements.look_at(self, query)
            except FieldError as error:
                return error.with_traceback(None)
        elif isinstance(query, UpdateQuery) and (
            value is None
            or not (statements.is_written(self.values, query) or hasattr(value, "as_sql"))
        ):
            return refused(self)
        return None


def _compiled(
    plain_class: Any, field: Any, content: Unencrypted, compiler: Any, connection: Any
) -> tuple[str, Any]:
    """Return SQL for what a field of a class has prepared."""
    if hasattr(plain_class, "get_placeholder_sql"):  # some have it, from Django 6.1 on
        sql, params = plain_class.get_placeholder_sql(field, content.value, compiler, connection)
        return sql, tuple(params)
    if hasattr(content.value, "as_sql"):
        compiled: tuple[str, Any] = compiler.compile(content.value)
        return compiled
    if hasattr(plain_class, "get_placeholder"):
        placeholder = plain_class.get_placeholder(field, content.value, compiler, connection)
        return placeholder, (content.value,)
    return "%s", (content.value,)


def _as_declared(field: Any) -> Any:
    """Return a copy of a field that is of the class it was declared of."""
    declared = field.__copy__()
    declared.__class__ = field.plain_class
    _forget(declared)
    return declared


def _takes_text_as_it_is(plain_class: Any) -> bool:
    """Whether a class of fields does nothing to a text that is stored, as Django's of text do."""
    return any(
        all(getattr(plain_class, each) is getattr(of_text, each) for each in _PREPARING)
        for of_text in (TextField, CharField)
    )


def _forget(plain: Any) -> None:
    for name in ("values", "mirror", "is_taken_at_once"):
        vars(plain).pop(name, None)


def convert(field: Any) -> None:
    """Have the field in clear that an encrypted one converts mirror that."""
    plain = field.plain_field
    if plain is None or isinstance(plain, ClearFieldMixin):
        return
    declared: Any = type(plain)
    plain.__class__ = _kind(declared)
    plain.values = field
    plain.mirror = Mirror(plain)
    plain.is_taken_at_once = maker(type(field).__mro__) is Field
    setattr(field.model, plain.attname, ClearAttribute(plain))


@cache
def _kind(plain_class: Any) -> Any:
    """Return the class of fields in clear that are converted, of those of a class."""
    body = {
        "plain_class": plain_class,
        "takes_text_as_it_is": _takes_text_as_it_is(plain_class),
        "has_placeholder": hasattr(plain_class, "get_placeholder"),
        "__module__": plain_class.__module__,
        "__qualname__": plain_class.__qualname__,
        "__doc__": plain_class.__doc__,
    }
    return type(plain_class.__name__, (ClearFieldMixin, plain_class), body)
