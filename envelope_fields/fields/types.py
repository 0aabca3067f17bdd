"""What type checkers see of encrypted fields: the type of their values, and their options.

django-stubs has a plugin for mypy that knows the fields of Django. This is for other checkers too,
and for projects without these stubs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, overload

from django.db.models import Field

KeyChoice = str | Callable[[Any], str] | None
OnDenied = Literal["raise", "mask"]

if TYPE_CHECKING:
    # Every checker has it; the one of Python itself has default= from 3.13 on.
    from typing_extensions import TypeVar

    from envelope_fields.fields.reading import EncryptedAttribute

    FieldBase = Field[Any, Any]

    Set = TypeVar("Set", contravariant=True, default=Any)  # what may be assigned
    Get = TypeVar("Get", covariant=True, default=Any)  # what the attribute gives

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
    Set = Get = Any

    class Typed:
        # Not by `Generic`: Django cannot copy a field that has it among its bases.
        def __class_getitem__(cls, types: Any) -> Any:
            return cls


class Options(TypedDict, total=False):
    """The options of an encrypted field, but for those that its column cannot have.

    Where Django takes a translated text, it may be of the type of any project's translations.
    """

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
    key: KeyChoice
    context: str | None
    previous_contexts: Iterable[str]
    copy_of: str | None
    on_denied: OnDenied


class TextOptions(Options, total=False):
    """The options of an encrypted text."""

    max_length: int | None
