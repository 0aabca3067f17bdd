"""Encrypted arrays, for projects on PostgreSQL: the value is the list, and the column bytes.

Imported only where it is asked for, since Django's field needs a driver of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, overload

from django.contrib.postgres.fields import ArrayField
from django.db.models import Field

from envelope_fields.crypto.canonical import CanonicalType, array
from envelope_fields.fields.any import encrypted
from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.types import Get, No, Options, Set, Typed


class EncryptedArrayField(Typed[Set, Get], EncryptedFieldMixin, ArrayField):  # type: ignore[type-arg,misc]
    """An `ArrayField` whose lists are stored encrypted, each as a whole.

    Its `base_field` is a plain one.
    """

    if TYPE_CHECKING:
        _pyi_private_set_type: Sequence[Any]  # for the plugin of django-stubs
        _pyi_private_get_type: list[Any]

        @overload
        def __init__(
            self: EncryptedArrayField[Sequence[Any], list[Any]],
            base_field: Field[Any, Any],
            size: int | None = ...,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedArrayField[Sequence[Any] | None, list[Any] | None],
            base_field: Field[Any, Any],
            size: int | None = ...,
            **options: Unpack[Options[bool]],
        ) -> None: ...

        def __init__(self, *args: Any, **options: Any) -> None: ...

    else:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            vars(self).pop("from_db_value", None)  # of the elements: they do not come one by one

    @cached_property
    def _element(self) -> Any:
        """A field of one item."""
        base: Any = self.base_field.clone()
        is_array = isinstance(base, ArrayField)
        return EncryptedArrayField(base.base_field, base.size) if is_array else encrypted(base)

    @cached_property
    def _elements(self) -> CanonicalType:
        element = self._element
        return array(CanonicalType("element", element.to_plaintext, element.from_plaintext))

    def to_plaintext(self, value: Any) -> bytes:
        try:
            if isinstance(value, list | tuple):
                is_null = self._element.is_null
                return self._elements.encode([None if is_null(each) else each for each in value])
            cause = type(value).__name__
        except Exception as error:  # Django's own show the value
            cause = type(error).__name__
        del value
        raise ValueError(f"{self}: this is not a list of values of its base field ({cause}).")

    def from_plaintext(self, plaintext: bytes) -> Any:
        return self._elements.decode(plaintext)
