"""What every encrypted field does: encrypt on the way to the database, decrypt on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from django.core import checks
from django.core.exceptions import FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Value
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields import (
    attribute,
    drafts,
    expressions,
    field_checks,
    placeholder,
    upserts,
)
from envelope_fields.fields.attribute import EncryptedAttribute
from envelope_fields.fields.binary import CACHED_AS, BinaryMixin
from envelope_fields.fields.binding import BindingMixin, is_history
from envelope_fields.fields.columns import is_column
from envelope_fields.fields.drafts import DraftsMixin
from envelope_fields.fields.errors import refuse
from envelope_fields.fields.lookups import LookupsMixin
from envelope_fields.fields.masking import MaskingMixin, refuse_mask
from envelope_fields.fields.masks import Mask, masked_in
from envelope_fields.fields.prepared import Kept, StoredEnvelope, Unencrypted
from envelope_fields.fields.reading import Reader, opener, reader, sealer
from envelope_fields.fields.sealed import SealedEnvelope, SealedValue, sealed_in
from envelope_fields.fields.storing import StoringMixin, prepare_saves_of
from envelope_fields.fields.types import KeyChoice, OnDenied
from envelope_fields.fields.writing import Writer, writer
from envelope_fields.keyring import decrypt_to_verify

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin

_CACHED = (
    "label",
    "field_path",
    "contexts",
    "copied",
    "converter",
    "reader",
    "writer",
    "opened",
    "opener",
    "verifier",
    "row_names",
    "has_drafts",
    CACHED_AS,
)

attribute.watch_models()
drafts.watch()  # models are declared before any application is ready


class EncryptedFieldMixin(
    DraftsMixin, StoringMixin, LookupsMixin, MaskingMixin, BindingMixin, BinaryMixin, _Field
):
    """Stores the values of the field class that follows in the MRO as envelopes.

    A subclass says how a value becomes bytes, in `to_plaintext` and `from_plaintext`.

    Args:
        key: the master key's alias; or a callable that is given the instance (None where Django
            has none, as in `update()`) and returns an alias; None is the key `default`.
        context: the label to which values are bound, instead of `app_label.model.field`.
        previous_contexts: labels under which values were written before, tried in this order.
        copy_of: `app_label.Model.field`, where triggers or a package fill rows of a history with
            copies of that field's envelopes: these are read, too.
        on_denied: what becomes of a value that the principal may not read: `raise` an error, or
            `mask` it with an object that shows dots and leaves the stored value alone.
        *args, **kwargs: those of the field class.
    """

    key: KeyChoice
    has_drafts = False

    non_db_attrs: tuple[str, ...] = (
        *Field.non_db_attrs,
        "key",
        "context",
        "previous_contexts",
        "copy_of",
        "on_denied",
        "encoder",
        "decoder",
    )

    def __init__(
        self,
        *args: Any,
        key: KeyChoice = None,
        context: str | None = None,
        previous_contexts: Iterable[str] = (),
        copy_of: str | None = None,
        on_denied: OnDenied = "raise",
        **kwargs: Any,
    ) -> None:
        self.key = key
        self.on_denied = on_denied
        self.context = context
        self.previous_contexts = tuple(previous_contexts)
        self.copy_of = copy_of
        super().__init__(*args, **kwargs)

    # How a value becomes bytes

    def to_plaintext(self, value: Any) -> bytes:
        """Return the bytes to encrypt for a value that is not None.

        Raises:
            Exception: the value cannot be stored. The field raises a `TypeError` or `ValueError`
                in its place, which holds nothing of the value. A text that begins with
                `f"{self}: "` is kept, unless the value is in it.
        """
        raise NotImplementedError

    def from_plaintext(self, plaintext: bytes) -> Any:
        """Return the value that `to_plaintext` made `plaintext` of."""
        raise NotImplementedError

    # Declaration

    descriptor_class = EncryptedAttribute

    def contribute_to_class(self, cls: type[Model], name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only=private_only)
        # Of its own, also where an abstract base has one: it opens by the field of this model.
        if isinstance(getattr(cls, self.attname, None), DeferredAttribute):
            setattr(cls, self.attname, self.descriptor_class(self))
        prepare_saves_of(cls)
        # The field of an abstract base is copied, with what is cached in it.
        for cached in _CACHED:
            self.__dict__.pop(cached, None)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        if type(self).__module__.startswith("envelope_fields.fields."):
            path = f"envelope_fields.fields.{type(self).__qualname__}"
        if self.key is not None:
            kwargs["key"] = self.key
        if self.context is not None:
            kwargs["context"] = self.context
        if self.previous_contexts:
            kwargs["previous_contexts"] = self.previous_contexts
        if self.copy_of is not None:
            kwargs["copy_of"] = self.copy_of
        return name, path, args, kwargs

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        return [*super().check(**kwargs), *field_checks.check(self)]

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

    def _check_db_default(self, **kwargs: Any) -> list[checks.CheckMessage]:
        return []  # refused as a whole, by envelope_fields.E014

    # Writing

    @cached_property
    def writer(self) -> Writer:
        """What turns a value that is not None into the bytes that are stored."""
        return writer(self)

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        held = sealed_in(model_instance, self)
        if held is not None:
            prepared = held.prepared(self, model_instance, add)
            if prepared is not None:
                return prepared
        value = super().pre_save(model_instance, add)
        if value is None:
            return None
        if hasattr(value, "resolve_expression"):
            return self._expression(value, model_instance, add)
        if type(value) is StoredEnvelope:
            return self._own(value)
        return Unencrypted(value, model_instance)

    def _expression(self, value: Any, instance: Model, add: bool) -> Any:
        if isinstance(value, Mask):
            if self.null and is_history(self.model):
                return None
            raise masked_in(self, instance, value, add)
        if expressions.is_json_null(self, value):
            # Still an expression: from 6.0 on, Django reads back what it stands for.
            return Value(Unencrypted(value, instance), output_field=self)
        return value

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if type(value) is Unencrypted:
            return self.writer(value, connection.alias)
        if value is None:
            return None
        if isinstance(value, Kept | StoredEnvelope):
            return self.stored_by(value, connection)
        refuse_mask(self, value)
        value = placeholder.meant(self, value)
        prepared = Unencrypted(value.open() if isinstance(value, SealedValue) else value, None)
        if hasattr(value, "as_sql"):
            if not expressions.is_json_null(self, value):
                return expressions.admit(self, value, prepared)
        elif placeholder.suffices(self, connection):
            return placeholder.for_no_row(self, connection)
        del value  # from here on the carrier alone holds it: error reports show variables
        return self.writer(prepared, connection.alias)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> NoReturn:
        # Django asks for this to compare or to compute, never to store.
        del value
        raise refuse(self, "a value cannot be compared with what is stored")

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> str:
        if callable(self.key):
            upserts.refuse_other_keys(self, compiler)
        sql: str = connection.ops.binary_placeholder_sql(value)  # type: ignore[call-arg]  # 6.1's
        return sql

    def get_placeholder_sql(  # the same for Django 6.1 and later
        self, value: Any, compiler: Any, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        if callable(self.key):
            upserts.refuse_other_keys(self, compiler)
        operations: Any = connection.ops
        sql, params = operations.binary_placeholder_sql(value, compiler)
        return sql, params

    # Reading

    @cached_property
    def converter(self) -> Reader:
        """What turns the bytes of this field's column into values."""
        if type(self).from_db_value is EncryptedFieldMixin.from_db_value:
            return self.reader
        return self.from_db_value  # a subclass has something to add

    @cached_property
    def reader(self) -> Reader:
        """The fast way through: a function for this field alone."""
        return reader(self)

    @cached_property
    def verifier(self) -> Reader:
        """What reads as `reader` does, and counts as no use of the value."""
        return reader(self, decrypt_to_verify)

    def sealer(self, kind: type[SealedValue] | None = None) -> Reader:
        """Return the converter by which one query loads objects, with values of a class."""
        return sealer(self, kind or SealedValue)

    @cached_property
    def opened(self) -> Callable[[SealedValue], Any]:
        """What opens a sealed value, when a caller looks at it."""
        if type(self).from_db_value is EncryptedFieldMixin.from_db_value:
            return self.opener
        column = self.get_col(self.model._meta.db_table)  # a subclass has something to add

        def opened(sealed: SealedValue) -> Any:
            if type(sealed.envelope) is not bytes:  # SQLite stores any type
                return self.opener(sealed)
            return self.from_db_value(SealedEnvelope.of(sealed), column, None)

        return opened

    @cached_property
    def opener(self) -> Callable[[SealedValue], Any]:
        """The fast way to open one: a function for this field alone."""
        return opener(self)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if not is_column(expression):
            raise refuse(self, f"{type(expression).__name__}() computed on its envelopes")
        if type(value) is SealedEnvelope:
            return self.opener(value.sealed)
        return self.reader(value, expression, connection)
