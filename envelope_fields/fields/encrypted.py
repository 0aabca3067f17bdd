"""What every encrypted field does: encrypt on the way to the database, decrypt on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from django.core import checks
from django.core.exceptions import FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Subquery
from django.db.models.expressions import Col, DatabaseDefault, Ref
from django.db.models.sql import Query

from envelope_fields.crypto import envelope, format
from envelope_fields.crypto.context import field_context
from envelope_fields.exceptions import DecryptionFailed, EnvelopeError
from envelope_fields.fields import field_checks, guard, placeholder
from envelope_fields.fields.carriers import StoredEnvelope, Unencrypted
from envelope_fields.fields.columns import EncryptedCol, refuse
from envelope_fields.fields.lookups import refused_lookup, refused_transform
from envelope_fields.keyring import unwrapping_key, wrapping_key
from envelope_fields.models import DEFAULT_ALIAS

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin

KeyChoice = str | Callable[[Any], str] | None

# What may stand for the column in a query and still be read: see from_db_value.
_READABLE = (Col, Ref, Subquery, Query)

_derivation = slice(format.DERIVATION_BYTES)


class EncryptedFieldMixin(_Field):
    """Stores the values of the field class that follows in the MRO as envelopes.

    A subclass says how a value becomes bytes, in `to_plaintext` and `from_plaintext`.

    Args:
        key: the master key's alias; or a callable that is given the instance (None where Django
            has none, as in `update()`) and returns an alias; None is the key `default`.
        context: the label to which values are bound, instead of `app_label.model.field`.
        previous_contexts: labels under which values were written before, tried in this order.
        *args, **kwargs: those of the field class.
    """

    key: KeyChoice
    context: str | None
    previous_contexts: tuple[str, ...]

    non_db_attrs: tuple[str, ...] = (
        *Field.non_db_attrs,
        "key",
        "context",
        "previous_contexts",
        "encoder",
        "decoder",
    )

    def __init__(
        self,
        *args: Any,
        key: KeyChoice = None,
        context: str | None = None,
        previous_contexts: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        self.key = key
        self.context = context
        self.previous_contexts = tuple(previous_contexts)
        super().__init__(*args, **kwargs)

    # How a value becomes bytes

    def to_plaintext(self, value: Any) -> bytes:
        """Return the bytes to encrypt for a value that is not None.

        Raises:
            TypeError, ValueError: the value cannot be stored. The error must not hold it.
        """
        raise NotImplementedError

    def from_plaintext(self, plaintext: bytes) -> Any:
        """Return the value that `to_plaintext` made `plaintext` of."""
        raise NotImplementedError

    # Declaration

    def contribute_to_class(self, cls: type[Model], name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only)
        # The field of an abstract base is copied, with what is cached in it.
        for cached in ("label", "contexts", "reader"):
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
        return name, path, args, kwargs

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        return [*super().check(**kwargs), *field_checks.check(self)]

    def get_internal_type(self) -> str:
        return "BinaryField"

    @cached_property
    def label(self) -> str:
        """What this field's values are bound to: `app_label.model.field`, or what is pinned."""
        return self.context or f"{self.model._meta.label_lower}.{self.name}".lower()

    @cached_property
    def contexts(self) -> tuple[bytes, ...]:
        """The contexts under which a value may be read; the first is the one to write with."""
        return tuple(map(field_context, (self.label, *self.previous_contexts)))

    # Writing

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if value is None:
            return None
        if hasattr(value, "resolve_expression"):
            if isinstance(value, DatabaseDefault):
                raise FieldError(
                    f"{self} is encrypted: db_default would have the database store a plain "
                    "value. Use default= instead."
                )
            if not guard.is_json_null(value):
                return value
        elif type(value) in (Unencrypted, StoredEnvelope):
            return value
        return Unencrypted(value, model_instance)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if type(value) is Unencrypted:
            return self._encrypt(value, connection.alias)
        if value is None:
            return None
        if type(value) is StoredEnvelope:
            return value.envelope
        carrier = Unencrypted(value, None)
        if hasattr(value, "as_sql"):
            if not guard.is_json_null(value):
                return guard.admit(self, value, carrier)
        elif placeholder.suffices(self, connection):
            return placeholder.PLACEHOLDER
        return self._encrypt(carrier, connection.alias)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> NoReturn:
        # Django asks for this to compare or to compute, never to store.
        raise refuse(self, "a value cannot be compared with what is stored")

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> str:
        return str(connection.ops.binary_placeholder_sql(value))  # type: ignore[call-arg]

    def get_placeholder_sql(  # the same for Django 6.1 and later
        self, value: Any, compiler: Any, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        operations: Any = connection.ops
        sql, params = operations.binary_placeholder_sql(value, compiler)
        return sql, params

    def _encrypt(self, carrier: Unencrypted, using: str | None) -> bytes:
        # No local name here ever holds the value: an error report would show it.
        alias = self._alias(carrier.instance)
        try:
            key = wrapping_key(alias, using)
        except EnvelopeError as error:
            raise self._named(error) from error
        return envelope.encrypt(key, self.to_plaintext(carrier.value), self.contexts[0])

    def _alias(self, instance: Model | None) -> str:
        key = self.key
        if key is None:
            return DEFAULT_ALIAS
        if isinstance(key, str):
            return key
        if instance is not None:
            alias = key(instance)
        else:
            try:
                alias = key(None)
            except Exception:  # it was made for instances
                alias = None
        if isinstance(alias, str):
            return alias
        if instance is not None:
            raise FieldError(
                f"{self}: key= returned {type(alias).__name__} instead of the alias of a key."
            )
        raise FieldError(
            f"{self} takes its key from the instance, and Django gives none here. Use save() or "
            "bulk_create(); for bulk_update(), a manager made of "
            "envelope_fields.fields.EncryptedQuerySet; or let key(None) return an alias."
        )

    def _named(self, error: EnvelopeError) -> EnvelopeError:
        return type(error)(f"{self}: {error}{placeholder.advice(self.model)}")

    # Reading

    @cached_property
    def reader(self) -> Callable[[Any, Any, Any], Any]:
        """The converter of a column: written flat, since every value that is loaded passes it."""
        context, decrypt, from_plaintext = self.contexts[0], envelope.decrypt, self.from_plaintext
        explain, read_slowly = self._explain, self._read_slowly

        def read(value: Any, expression: Any, connection: Any) -> Any:
            if value is None:
                return None
            try:
                key = unwrapping_key(value[_derivation])
            except (EnvelopeError, TypeError) as error:
                raise explain(value, error) from error
            try:
                return from_plaintext(decrypt(key, value, context))
            except Exception:  # noqa: S110 - whatever it was, it is met again and named
                pass
            # Outside of `except`, so that the error of the first try does not hang on the one
            # that is raised: it may hold the plaintext.
            return read_slowly(key, value)

        return read

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if not isinstance(expression, _READABLE):
            raise refuse(self, f"{type(expression).__name__}() computed on its envelopes")
        return self.reader(value, expression, connection)

    def _explain(self, value: Any, error: Exception) -> EnvelopeError:
        """Return the error for a stored value whose key was not found."""
        try:
            format.parse(value)
        except EnvelopeError as malformed:
            return self._named(malformed)
        return self._named(error) if isinstance(error, EnvelopeError) else EnvelopeError(str(error))

    def _read_slowly(self, key: Any, value: bytes) -> Any:
        """Read a value under each of the field's contexts, or say what is wrong with it."""
        try:
            value, failed = self._decode(self._open(key, value))
        except EnvelopeError as error:
            raise self._named(error) from error
        if failed:
            raise DecryptionFailed(
                f"{self}: a value was decrypted and is not what this field stores ({failed}). "
                "Was it written by a field of another type?"
            )
        return value

    def _open(self, key: Any, value: bytes) -> bytes:
        version_id = format.parse(value).version_id
        cause: DecryptionFailed
        for context in self.contexts:
            try:
                return envelope.decrypt(key, value, context)
            except envelope.UnwrapFailed as error:
                cause = error
            except DecryptionFailed as error:
                cause = error
                break
        raise DecryptionFailed(
            f"the value under key version {version_id.hex()} cannot be decrypted "
            f"({type(cause).__name__}): {cause}."
        )

    def _decode(self, plaintext: bytes) -> tuple[Any, str]:
        """Return the value, or the name of the error that decoding it raised."""
        try:
            return self.from_plaintext(plaintext), ""
        except Exception as error:  # a decoder may raise anything, with the plaintext in it
            return None, type(error).__name__

    # Queries

    def get_col(self, alias: str, output_field: Any = None) -> Col:
        if alias == self.model._meta.db_table and (output_field is None or output_field == self):
            return self.cached_col
        return EncryptedCol(alias, self, output_field)

    @cached_property
    def cached_col(self) -> Col:
        return EncryptedCol(self.model._meta.db_table, self)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        return refused_lookup(self, lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        return refused_transform(self, lookup_name)

    # Fixtures

    def value_to_string(self, obj: Model) -> Any:
        """Return the value as the text of an envelope, as fixtures hold it, or None for NULL."""
        value = self.value_from_object(obj)
        if value is None:
            return None
        # The text leaves the database, and must not outlive a key that is rolled back.
        return format.encode_text(self._encrypt(Unencrypted(value, obj), using=None))
