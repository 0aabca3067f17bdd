"""Encrypted numbers, and true and false."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload

from django.db import models
from django.db.backends.utils import format_number

from envelope_fields.crypto import canonical
from envelope_fields.fields.canonical import CanonicalMixin, EmptyIsNullMixin
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.fields.types import DecimalOptions, Get, No, Options, Set, Typed

if TYPE_CHECKING:
    Number = int | float | str  # what an integer may be assigned


class _IntegerMixin(CanonicalMixin):
    canonical: ClassVar = canonical.INTEGER
    prepared_types = (int,)

    if TYPE_CHECKING:
        _pyi_private_set_type: Number  # for the plugin of django-stubs


class EncryptedIntegerField(Typed[Set, Get], _IntegerMixin, models.IntegerField):  # type: ignore[type-arg,misc]
    """An `IntegerField` whose values are stored encrypted; 32 bits, as that validates."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: EncryptedIntegerField[Number, int], *args: Any, **options: Unpack[Options[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedIntegerField[Number | None, int | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedSmallIntegerField(Typed[Set, Get], _IntegerMixin, models.SmallIntegerField):  # type: ignore[type-arg,misc]
    """A `SmallIntegerField` whose values are stored encrypted; 16 bits, as that validates."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: EncryptedSmallIntegerField[Number, int],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedSmallIntegerField[Number | None, int | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedBigIntegerField(Typed[Set, Get], _IntegerMixin, models.BigIntegerField):  # type: ignore[type-arg,misc]
    """A `BigIntegerField` whose values are stored encrypted; 64 bits, as that validates."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: EncryptedBigIntegerField[Number, int], *args: Any, **options: Unpack[Options[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedBigIntegerField[Number | None, int | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedPositiveIntegerField(  # type: ignore[misc]
    Typed[Set, Get],
    _IntegerMixin,
    models.PositiveIntegerField,  # type: ignore[type-arg]
):
    """A `PositiveIntegerField` whose values are stored encrypted."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: EncryptedPositiveIntegerField[Number, int],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedPositiveIntegerField[Number | None, int | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedPositiveSmallIntegerField(  # type: ignore[misc]
    Typed[Set, Get],
    _IntegerMixin,
    models.PositiveSmallIntegerField,  # type: ignore[type-arg]
):
    """A `PositiveSmallIntegerField` whose values are stored encrypted."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: EncryptedPositiveSmallIntegerField[Number, int],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedPositiveSmallIntegerField[Number | None, int | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedPositiveBigIntegerField(  # type: ignore[misc]
    Typed[Set, Get],
    _IntegerMixin,
    models.PositiveBigIntegerField,  # type: ignore[type-arg]
):
    """A `PositiveBigIntegerField` whose values are stored encrypted."""

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: EncryptedPositiveBigIntegerField[Number, int],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedPositiveBigIntegerField[Number | None, int | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedDecimalField(Typed[Set, Get], CanonicalMixin, models.DecimalField):  # type: ignore[type-arg,misc]
    """A `DecimalField` whose values are stored encrypted, with their digits.

    As in a column of numbers, a value is brought to `decimal_places`.
    """

    if TYPE_CHECKING:
        _pyi_private_set_type: Decimal | float | str

        @overload
        def __init__(
            self: EncryptedDecimalField[Decimal | float | str, Decimal],
            *args: Any,
            **options: Unpack[DecimalOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedDecimalField[Decimal | float | str | None, Decimal | None],
            *args: Any,
            **options: Unpack[DecimalOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.DECIMAL

    def to_python(self, value: Any) -> Any:
        if isinstance(value, float):
            # Django has a `context` for it, which in an encrypted field is that of its values.
            value = Context(prec=self.max_digits).create_decimal_from_float(value)
        return super().to_python(value)

    def meant_by(self, value: Any) -> Decimal:
        prepared = Decimal(super().meant_by(value))
        places: int | None = self.decimal_places
        if places is None or not prepared.is_finite():
            return prepared
        # The digits that Django gives a database.
        return Decimal(str(format_number(prepared, self.max_digits, places)))


class EncryptedFloatField(Typed[Set, Get], CanonicalMixin, models.FloatField):  # type: ignore[type-arg,misc]
    """A `FloatField` whose values are stored encrypted, to the last bit."""

    if TYPE_CHECKING:
        _pyi_private_set_type: float | str

        @overload
        def __init__(
            self: EncryptedFloatField[float | str, float],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedFloatField[float | str | None, float | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.FLOAT
    prepared_types = (float,)


class EncryptedBooleanField(Typed[Set, Get], EmptyIsNullMixin, models.BooleanField):  # type: ignore[type-arg,misc]
    """A `BooleanField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: bool

        @overload
        def __init__(
            self: EncryptedBooleanField[bool, bool], *args: Any, **options: Unpack[Options[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedBooleanField[bool | None, bool | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.BOOLEAN
    prepared_types = (bool,)

    def is_null(self, value: Any) -> bool:
        if value is None or type(value) is bool or not self.null:
            return value is None
        return not isinstance(value, SealedValue) and value in self.empty_values
