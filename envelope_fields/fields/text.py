"""Encrypted text of every kind."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, overload

from django.db import models

from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.plain import is_null
from envelope_fields.fields.storing import StoringMixin
from envelope_fields.fields.types import (
    FilePathOptions,
    Get,
    No,
    Set,
    SlugOptions,
    TextOptions,
    Typed,
)
from envelope_fields.fields.validation import ValidationMixin

# What these do to a text is nothing.
_PREPARING = (models.TextField.get_prep_value, models.CharField.get_prep_value)
_CONVERTING = (models.TextField.to_python, models.CharField.to_python)
_OURS = (StoringMixin.to_python, ValidationMixin.to_python)


class TextMixin(EncryptedFieldMixin):
    """Writes the values of a field class of text, which follows in the MRO, as UTF-8."""

    asks_plain = True

    def to_plaintext(self, value: Any) -> bytes:
        # What is text is stored as it is, and most is: Django's preparing would only say so again.
        if type(value) is not str or self._prepares_text:
            value = self.prepared_by_plain(value)
        try:
            return value.encode()  # type: ignore[no-any-return]  # a str
        except UnicodeEncodeError:
            del value  # what is raised must not hold the text, nor show it in its traceback
        raise ValueError(f"{self}: the text has lone surrogates and cannot be encoded as UTF-8.")

    @cached_property
    def _prepares_text(self) -> bool:
        """Whether Django's field class, or a subclass of ours, has a say in what is stored."""
        ours: Any = type(self)
        prepare, convert = ours.get_prep_value, ours.to_python
        below = super(ValidationMixin, self).to_python.__func__  # type: ignore[attr-defined]
        is_plain = prepare in _PREPARING and convert in _OURS and below in _CONVERTING
        return not is_plain or self.as_plain is not None

    @cached_property
    def makes_null(self) -> bool:
        """Whether NULL may be stored for more than None."""
        return self._prepares_text

    def is_null(self, value: Any) -> bool:
        return is_null(self, value) if self.makes_null else value is None

    # Itself a method of bytes, so that a value that is read costs one call less.
    from_plaintext = staticmethod(bytes.decode)  # type: ignore[assignment]  # faster than a method


class EncryptedTextField(Typed[Set, Get], TextMixin, models.TextField):  # type: ignore[type-arg,misc]
    """A `TextField` whose values are stored encrypted, as UTF-8."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str  # for the plugin of django-stubs

        @overload
        def __init__(
            self: EncryptedTextField[str, str], *args: Any, **options: Unpack[TextOptions[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedTextField[str | None, str | None],
            *args: Any,
            **options: Unpack[TextOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedCharField(Typed[Set, Get], TextMixin, models.CharField):  # type: ignore[type-arg,misc]
    """A `CharField` whose values are stored encrypted; `max_length` is validated alone."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str | int

        @overload
        def __init__(
            self: EncryptedCharField[str | int, str], *args: Any, **options: Unpack[TextOptions[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedCharField[str | int | None, str | None],
            *args: Any,
            **options: Unpack[TextOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedEmailField(Typed[Set, Get], TextMixin, models.EmailField):  # type: ignore[type-arg,misc]
    """An `EmailField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str

        @overload
        def __init__(
            self: EncryptedEmailField[str, str], *args: Any, **options: Unpack[TextOptions[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedEmailField[str | None, str | None],
            *args: Any,
            **options: Unpack[TextOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedURLField(Typed[Set, Get], TextMixin, models.URLField):  # type: ignore[type-arg,misc]
    """A `URLField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str | int

        @overload
        def __init__(
            self: EncryptedURLField[str | int, str], *args: Any, **options: Unpack[TextOptions[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedURLField[str | int | None, str | None],
            *args: Any,
            **options: Unpack[TextOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...


class EncryptedSlugField(Typed[Set, Get], TextMixin, models.SlugField):  # type: ignore[type-arg,misc]
    """A `SlugField` whose values are stored encrypted, and have no index."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str | int

        @overload
        def __init__(
            self: EncryptedSlugField[str | int, str], *args: Any, **options: Unpack[SlugOptions[No]]
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedSlugField[str | int | None, str | None],
            *args: Any,
            **options: Unpack[SlugOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    else:

        def __init__(self, *args: Any, db_index: bool = False, **kwargs: Any) -> None:
            super().__init__(*args, db_index=db_index, **kwargs)


class EncryptedFilePathField(Typed[Set, Get], TextMixin, models.FilePathField):  # type: ignore[type-arg,misc]
    """A `FilePathField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str
        _pyi_private_get_type: str

        @overload
        def __init__(
            self: EncryptedFilePathField[str, str],
            *args: Any,
            **options: Unpack[FilePathOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedFilePathField[str | None, str | None],
            *args: Any,
            **options: Unpack[FilePathOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...
