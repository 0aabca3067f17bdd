"""Encrypted text."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from django.db import models

from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.types import Get, Set, TextOptions, Typed


class EncryptedTextField(Typed[Set, Get], EncryptedFieldMixin, models.TextField):  # type: ignore[type-arg,misc]
    """A `TextField` whose values are stored encrypted, as UTF-8."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str  # for the plugin of django-stubs
        _pyi_private_get_type: str

        @overload
        def __init__(
            self: EncryptedTextField[str, str],
            verbose_name: Any = ...,
            name: str | None = ...,
            *,
            null: Literal[False] = ...,
            **options: Unpack[TextOptions],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedTextField[str | None, str | None],
            verbose_name: Any = ...,
            name: str | None = ...,
            *,
            null: bool,
            **options: Unpack[TextOptions],
        ) -> None: ...
        @overload  # for subclasses, and what they call of this one
        def __init__(
            self,
            verbose_name: Any = ...,
            name: str | None = ...,
            *,
            null: bool = ...,
            **options: Unpack[TextOptions],
        ) -> None: ...
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def to_plaintext(self, value: Any) -> bytes:
        # What is text is stored as it is, and most is: Django's preparing would only say so again.
        if type(value) is not str or self._prepares_text:
            value = self.get_prep_value(value)
        try:
            return value.encode()  # type: ignore[no-any-return]  # a str
        except UnicodeEncodeError:
            del value  # what is raised must not hold the text, nor show it in its traceback
        raise ValueError(f"{self}: the text has lone surrogates and cannot be encoded as UTF-8.")

    @cached_property
    def _prepares_text(self) -> bool:
        """Whether a subclass has a say in what is stored of a text."""
        ours, plain = type(self), EncryptedTextField
        return (ours.get_prep_value, ours.to_python) != (plain.get_prep_value, plain.to_python)

    # Itself a method of bytes, so that a value that is read costs one call less.
    from_plaintext = staticmethod(bytes.decode)  # type: ignore[assignment]  # faster than a method
