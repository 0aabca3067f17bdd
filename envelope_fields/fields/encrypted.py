"""What every encrypted field does: encrypt on the way to the database, decrypt on the way back."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NoReturn

from django.core.checks import CheckMessage
from django.core.exceptions import FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Value
from django.db.models.query_utils import DeferredAttribute
from django.db.models.sql import InsertQuery

from envelope_fields.fields import checks, declared, defaults, writing
from envelope_fields.fields.attribute import EncryptedAttribute
from envelope_fields.fields.binary import BinaryColumn, BinaryMixin
from envelope_fields.fields.binding import tracked_model
from envelope_fields.fields.bound_columns import Name, as_names
from envelope_fields.fields.bound_statements import refuse_parts
from envelope_fields.fields.conversion import checks as conversion_checks
from envelope_fields.fields.conversion.columns import ConvertedCol
from envelope_fields.fields.conversion.field import ConvertingMixin
from envelope_fields.fields.conversion.statements import as_null, complete, is_insert
from envelope_fields.fields.errors import refuse
from envelope_fields.fields.keys import refuse_other_keys
from envelope_fields.fields.legacy import LegacyFormat, reading as legacy_reading
from envelope_fields.fields.lookups import LookupsMixin
from envelope_fields.fields.masks import MASK, Mask, masked_in, refuse_mask
from envelope_fields.fields.plain import PlainMixin
from envelope_fields.fields.prepared import Kept, StoredEnvelope, Unencrypted
from envelope_fields.fields.reading import ReadingMixin
from envelope_fields.fields.sealed import SealedValue, sealed_in
from envelope_fields.fields.statement_parts import with_columns_beside
from envelope_fields.fields.storing import StoringMixin
from envelope_fields.fields.types import FieldBase, KeyChoice, OnDenied
from envelope_fields.fields.validation import ValidationMixin
from envelope_fields.fields.writing import Writer, writer
from envelope_fields.fields.written import plain_class_makes_values

# The options of a field, and what each is where it is left out.
OPTIONS = {
    "key": None,
    "context": None,
    "previous_contexts": (),
    "bind_to": (),
    "previous_bindings": (),
    "copy_of": None,
    "converts": None,
    "on_denied": "raise",
}

# What a field keeps of what follows from its model.
_KEPT_OF_MODEL = (
    "label field_path contexts copied row_names key_names row_getter bound_fields bindings _labels "
    "has_drafts binary legacy_formats _plain_field _last_phase _owners _known_lookups"
)
_KEPT_FUNCTIONS = (
    "reader verifier opened _opener writer from_text pre_save as_plain converters_of_null"
)


class EncryptedFieldMixin(
    StoringMixin,
    ValidationMixin,
    LookupsMixin,
    ReadingMixin,
    ConvertingMixin,
    BinaryMixin,
    PlainMixin,
    FieldBase,
):
    """Stores the values of the field class that follows in the MRO as envelopes.

    A subclass says how a value becomes bytes, in `to_plaintext` and `from_plaintext`.

    Args:
        key: the master key's alias; or a callable that is given the instance (None where Django
            has none, as in `update()`) and returns an alias; None is the key `default`.
        context: the label to which values are bound, instead of `app_label.model.field`.
        previous_contexts: labels under which values were written before, tried in this order.
        bind_to: the names of columns of the row that values are bound to: an envelope that is
            copied to another row does not open there.
        previous_bindings: what values were bound to before, each as for `bind_to`, tried in this
            order; `()` is nothing. In the place of a name may be a pair: what a column was called,
            and what it is called now.
        copy_of: `app_label.Model.field`, where triggers or a package fill rows of a history with
            copies of that field's envelopes: these are read, too.
        converts: the name of the field of the same model, in clear, whose place this one takes:
            the phase of the conversion says which of the two columns is read, and which are
            written.
        legacy: readers of what other packages have stored in this very column, or in that of
            `converts`, of `envelope_fields.fields.legacy`; until its conversion is finished. They
            are in no migration.
        on_denied: what becomes of a value that the principal may not read: `raise` an error, or
            `mask` it with an object that shows dots and leaves the stored value alone.
        *args, **kwargs: those of the field class.
    """

    key: KeyChoice
    descriptor_class = EncryptedAttribute

    non_db_attrs: tuple[str, ...] = (*Field.non_db_attrs, *OPTIONS, "encoder", "decoder")

    def __init__(
        self,
        *args: Any,
        key: KeyChoice = None,
        context: str | None = None,
        previous_contexts: Iterable[str] = (),
        bind_to: Iterable[str] = (),
        previous_bindings: Iterable[Iterable[Name]] = (),
        copy_of: str | None = None,
        converts: str | None = None,
        on_denied: OnDenied = "raise",
        legacy: Iterable[LegacyFormat] = (),
        **kwargs: Any,
    ) -> None:
        self.key = key
        self.on_denied = on_denied
        self.context = context
        self.previous_contexts = tuple(previous_contexts)
        self.bind_to = as_names(bind_to)
        self.previous_bindings = tuple(map(as_names, previous_bindings))
        self.is_bound = bool(self.bind_to or self.previous_bindings)
        self.copy_of = copy_of
        self.converts = converts
        if converts is not None:
            self.col_class = ConvertedCol
        self.legacy = legacy_reading.declared(legacy, beside=converts is not None)
        super().__init__(*args, **kwargs)

    def to_plaintext(self, value: Any) -> bytes:
        """Return the bytes to encrypt for a value that is not None.

        Raises:
            Exception: the value cannot be stored. The field raises a `TypeError` or `ValueError`
                in its place, which holds nothing of the value. A text that begins with
                `f"{self}: "` is kept, unless the value is in it.
        """
        raise NotImplementedError

    def is_null(self, value: Any) -> bool:
        """Whether NULL is stored for a value."""
        return value is None

    # Declaration

    def contribute_to_class(self, cls: type[Model], name: str, **options: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **options)
        # Of its own, also where an abstract base has one: it opens by the field of this model.
        if isinstance(getattr(cls, self.attname, None), DeferredAttribute):
            setattr(cls, self.attname, self.descriptor_class(self))
        self._forget()
        self.binary = BinaryColumn(self)
        declared.added(cls, self)

    def __copy__(self) -> Any:
        copied: Any = super().__copy__()
        copied._forget()
        return copied

    def _forget(self) -> None:
        for name in f"{_KEPT_OF_MODEL} {_KEPT_FUNCTIONS}".split():
            vars(self).pop(name, None)

    def clone(self) -> Any:
        cloned: Any = super().clone()
        cloned.legacy = self.legacy  # which is not deconstructed, so that no migration has it
        return cloned

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        if type(self).__module__.startswith("envelope_fields.fields."):
            path = f"envelope_fields.fields.{type(self).__qualname__}"
        options = {option: getattr(self, option) for option in OPTIONS}
        given = {option: each for option, each in options.items() if each != OPTIONS[option]}
        return name, path, args, {**kwargs, **given}

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        return [*super().check(**kwargs), *checks.check(self), *conversion_checks.check(self)]

    # Django asks for this wherever it makes SQL of `db_default`: the schema editor for tables and
    # columns of applications and migrations, objects for what they hold until they are saved.
    @property
    def _db_default_expression(self) -> Any:
        if self.has_db_default():
            raise FieldError(
                f"{self} is encrypted: db_default would have the database store a plain value. "
                "Use default= instead."
            )
        return self.db_default

    def _check_db_default(self, **kwargs: Any) -> list[CheckMessage]:
        return []  # refused as a whole, by envelope_fields.E014

    @property
    def masks(self) -> bool:
        """Whether a value that may not be read is a mask instead of an error."""
        return self.on_denied == MASK

    # Writing

    @cached_property
    def writer(self) -> Writer:
        """What turns a value that is not None into the bytes that are stored."""
        return writer(self)

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        held = sealed_in(model_instance, self)
        if held is not None and not self._plain_class_makes_values:
            prepared = held.prepared(self, model_instance, add)
            if prepared is not None and not self.changes_with_others(prepared, model_instance):
                return prepared
        value = super().pre_save(model_instance, add)
        if value is None:
            return None
        if hasattr(value, "resolve_expression"):
            return self._expression(value, model_instance)
        if type(value) is StoredEnvelope:
            return StoredEnvelope(value.envelope, self._own(value).label, model_instance)
        return Unencrypted(value, model_instance)

    @cached_property
    def _plain_class_makes_values(self) -> bool:
        return plain_class_makes_values(self)

    def changes_with_others(self, prepared: Any, instance: Model) -> bool:
        """Whether a value that would be kept has an index together with one that is changed."""
        return isinstance(prepared, Kept) and any(
            index.is_compound and index.is_changed_in(instance) for index in self.indexes
        )

    def _expression(self, value: Any, instance: Model) -> Any:
        if isinstance(value, Mask):
            if self.null and tracked_model(self.model) is not None:
                return None
            raise masked_in(self, value, instance)
        if writing.is_json_null(self, value):
            # Still an expression: from 6.0 on, Django reads back what it stands for.
            return Value(Unencrypted(value, instance), output_field=self)
        return value

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        is_moving = self.converts is not None
        if is_moving and not self.phase(connection.alias).writes_new and self.converted is not None:
            return as_null(self, value, connection)
        if type(value) is Unencrypted:
            if connection.connection is None:  # the server may be another one, and lack the key
                connection.ensure_connection()
            return (self._written if self.makes_null else self.writer)(value, connection.alias)
        if value is None:
            return with_columns_beside(self, None)
        if isinstance(value, Kept | StoredEnvelope):
            return self.stored_by(value, connection)
        refuse_mask(self, value)
        value = defaults.meant(self, value)
        prepared = Unencrypted(value.open() if isinstance(value, SealedValue) else value, None)
        is_expression = hasattr(value, "as_sql")
        del value  # from here on the prepared value alone holds it: error reports show variables
        if is_expression and not writing.is_json_null(self, prepared.value):
            return writing.admit(self, prepared)
        if not is_expression and defaults.suffices(self, connection):
            return defaults.for_no_row(self, connection)
        return with_columns_beside(self, self._written(prepared, connection.alias))

    def _written(self, prepared: Unencrypted, using: str) -> bytes | None:
        is_null = self.makes_null and self.is_null(prepared.value)
        return None if is_null else self.writer(prepared, using)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> NoReturn:
        # Django asks for this to compare or to compute, never to store.
        del value
        raise refuse(self, "a value cannot be compared with what is stored")

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        self.look_at(compiler)
        operations: Any = connection.ops
        return operations.binary_placeholder_sql(value)

    def look_at(self, compiler: Any) -> None:
        """Look at the statement that a value is for."""
        if callable(self.key):
            refuse_other_keys(self, compiler)
        if self.is_bound:
            refuse_parts(compiler)
        query = compiler.query
        for index in () if query.__class__ is InsertQuery else self.indexes:
            index.complete(query)
        if self.converts is not None and self.converted is not None and not is_insert(query):
            complete(self.converted, query)

    def get_placeholder_sql(  # the same for Django 6.1 and later
        self, value: Any, compiler: Any, connection: BaseDatabaseWrapper
    ) -> Any:
        self.look_at(compiler)
        operations: Any = connection.ops
        return operations.binary_placeholder_sql(value, compiler)
