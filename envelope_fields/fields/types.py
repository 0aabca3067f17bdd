"""What type checkers see of encrypted fields: the type of their values, and their options.

django-stubs has a plugin for mypy that knows the fields of Django. This is for other checkers too,
and for projects without these stubs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypedDict, TypeVar, overload

from django.db.models import Field

KeyChoice = str | Callable[[Any], str] | None
OnDenied = Literal["raise", "mask"]

No = Literal[False]
Null = TypeVar("Null", bound=bool)  # what `null` may be

if TYPE_CHECKING:
    # Every checker has it; the one of Python itself has default= from 3.13 on.
    from typing_extensions import TypeVar as WithDefault

    from envelope_fields.fields.attribute import EncryptedAttribute
    from envelope_fields.fields.legacy import LegacyFormat

    FieldBase = Field[Any, Any]

    class _HasTypes(Protocol):
        """A field whose attribute has types, as those of django-stubs have."""

        def __get__(self, instance: Any, owner: Any) -> Any: ...
        def __set__(self, instance: Any, value: Any) -> None: ...

    TypedField = TypeVar("TypedField", bound=_HasTypes)

    Set = WithDefault("Set", contravariant=True, default=Any)  # what may be assigned
    Get = WithDefault("Get", covariant=True, default=Any)  # what the attribute gives

    class Typed(Generic[Set, Get]):
        """The attribute that a field gives to objects of its model."""

        @overload
        def __get__(self, instance: None, owner: Any) -> EncryptedAttribute: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Get: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

        def __set__(self, instance: Any, value: Set) -> None: ...

else:
    FieldBase = object  # of mixins: the field class comes after them
    Set = Get = TypedField = Any

    class Typed:
        # Not by `Generic`: Django cannot copy a field that has it among its bases.
        def __class_getitem__(cls, types: Any) -> Any:
            return cls


class OwnOptions(TypedDict, total=False):
    """The options that an encrypted field has beside those of Django."""

    key: KeyChoice
    context: str | None
    previous_contexts: Iterable[str]
    bind_to: Iterable[str]
    previous_bindings: Iterable[Iterable[str | tuple[str, str]]]
    copy_of: str | None
    converts: str | None
    on_denied: OnDenied
    legacy: Iterable[LegacyFormat]


class Options(OwnOptions, Generic[Null], total=False):
    """The options of an encrypted field, but for those that its column cannot have.

    Where Django takes a translated text, it may be of the type of any project's translations.
    """

    null: Null
    blank: bool
    choices: Any
    db_column: str | None
    db_comment: str | None
    db_tablespace: str | None
    default: Any
    editable: bool
    error_messages: Mapping[str, Any] | None
    help_text: Any
    serialize: bool
    validators: Iterable[Callable[[Any], Any]]


class TextOptions(Options[Null], total=False):
    """The options of an encrypted text, or bytes."""

    max_length: int | None


class SlugOptions(TextOptions[Null], total=False):
    """The options of an encrypted slug."""

    allow_unicode: bool


class FilePathOptions(TextOptions[Null], total=False):
    """The options of an encrypted path."""

    path: str | Callable[[], str]
    match: str | None
    recursive: bool
    allow_files: bool
    allow_folders: bool


class AddressOptions(Options[Null], total=False):
    """The options of an encrypted address of a network."""

    protocol: str
    unpack_ipv4: bool


class DecimalOptions(Options[Null], total=False):
    """The options of an encrypted decimal."""

    max_digits: int | None
    decimal_places: int | None


class NowOptions(Options[Null], total=False):
    """The options of an encrypted date or time."""

    auto_now: bool
    auto_now_add: bool
