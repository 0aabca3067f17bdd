"""What stands for a value that the principal may not read, where a field masks instead of raising.

A mask is an object, not text: saving the object that has one leaves the stored value as it is, and
it cannot be written anywhere else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import BooleanField, Model, QuerySet, Value
from django.utils.translation import gettext_lazy, override

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError, OpeningNeedsThread
from envelope_fields.fields.columns import SEALED_AS, loads_as
from envelope_fields.fields.patches import extend, extended
from envelope_fields.fields.sealed import MISSING, SealedValue, encrypted_fields
from envelope_fields.keyring import version_of
from envelope_fields.policy import Action
from envelope_fields.policy.decisions import may

RAISE, MASK = ON_DENIED = "raise", "mask"
DOTS = "••••••••"
MARK = "⚠ "
CANNOT_BE_OPENED = gettext_lazy("cannot be opened")


class Mask:
    """The mask of one value: dots for readers, and nothing that a program could store.

    It is what the attribute gives to a principal who may not read the value; the object goes on
    to hold the sealed value.

    Attributes:
        sealed: the value.
    """

    __slots__ = ("__weakref__", "sealed")

    def __init__(self, sealed: SealedValue) -> None:
        self.sealed = sealed

    @property
    def field_path(self) -> str:
        """`app.model.field`, of the value."""
        field_path: str = self.sealed.field.field_path
        return field_path

    def __str__(self) -> str:
        return DOTS

    def __repr__(self) -> str:
        return f"<Mask of {self.field_path}: {DOTS}>"  # with what is refused as a value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return False
        mine, others = self.sealed, other.sealed
        return (self.field_path, mine.envelope) == (other.field_path, others.envelope)

    def __hash__(self) -> int:
        return hash((self.field_path, self.sealed.envelope))

    def __bool__(self) -> bool:
        if not isinstance(self.sealed.field, BooleanField):
            return True  # there is a value
        raise TypeError(
            f"The value of {self.field_path} is neither true nor false: you may not read it, "
            "or it cannot be opened. Show it, which gives text, or ask whether it is a Mask."
        )

    def __getitem__(self, key: Any) -> "MaskedPart":
        if isinstance(key, int):  # Python would ask for parts without an end; templates give text
            raise TypeError(f"{self.field_path} is masked, and has no parts to go through.")
        return MaskedPart(self.sealed)  # templates show nothing for what they do not find

    __contains__ = None

    def __reduce__(self) -> Any:
        return type(self), (self.sealed,)

    def resolve_expression(self, query: Any = None, *args: Any, **kwargs: Any) -> Value:
        # Django asks this of whatever is written or compared, before it makes text of it.
        if query is not None and query.model is None:
            # A constraint is validated. It may ask whether there is a value, and nothing else.
            return Value(self, output_field=self.sealed.field)
        raise FieldError(
            f"The value of {self.field_path} is masked: you may not read it, so it cannot be "
            "written elsewhere or looked for. Saving the object that it is in leaves it as it is; "
            "for bulk_update(), use a manager made of envelope_fields.fields.EncryptedQuerySet."
        )


class MaskedPart(Mask):
    """The mask of what is inside of a value, or is not: of a year, or a name of JSON."""

    __slots__ = ()

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self.field_path} is masked, and so is what is inside of it, if anything is. Show "
            "it, which gives text, or ask whether it is a Mask."
        )


class Unopened(Mask):
    """What pages and lists show for a value that cannot be opened, and not only for this user.

    Like a mask, it leaves the stored value alone.

    Attributes:
        cause: why, for those who may view the key; else empty.
    """

    __slots__ = ("cause",)

    def __init__(self, sealed: SealedValue, cause: str = "") -> None:
        super().__init__(sealed)
        self.cause = cause

    def __str__(self) -> str:
        return f"{MARK}{CANNOT_BE_OPENED}" + (f": {self.cause}" if self.cause else "")

    def __repr__(self) -> str:
        return f"<Unopened value of {self.field_path}>"

    def __reduce__(self) -> Any:
        return Unopened, (self.sealed, self.cause)


class ShownValue(SealedValue):
    """A sealed value whose attribute gives something to show where it cannot be opened."""

    __slots__ = ()

    def open(self) -> Any:
        try:
            return super().open()
        except OpeningNeedsThread:
            raise  # nothing is wrong with the value
        except (EnvelopeError, ImproperlyConfigured) as error:
            return Unopened(self, str(error) if may_view_key(self.envelope) else "")


def may_view_key(envelope: bytes) -> bool:
    """Whether the bound principal may view the key that an envelope names."""
    try:
        version = version_of(layout.parse(envelope).version_id)
        return may(Action.DESCRIBE, version)
    except (EnvelopeError, ImproperlyConfigured):
        return False


@contextmanager
def shown(instance: Model) -> Iterator[None]:
    """Have the attributes of an object give something to show, where they would raise."""
    held = instance.__dict__
    names = [field.attname for field in encrypted_fields(instance)]
    # Not those that code around this one has shown: it goes on to show them.
    names = [name for name in names if type(held.get(name)) is SealedValue]
    for name in names:
        held[name] = held[name].as_kind(ShownValue)
    try:
        yield
    finally:
        for name in names:
            if type(held.get(name)) is ShownValue:
                held[name] = held[name].as_kind(SealedValue)


def show_as_text(model: type[Model]) -> None:
    """Have the text of an object be that of a mask, where its `__str__()` returns a value."""
    if model.__str__ is not Model.__str__:
        extend(model, "__str__", _as_text)


def _as_text(original: Any) -> Any:
    def __str__(self: Model) -> Any:
        text = original(self)
        return str(text) if isinstance(text, Mask) else text

    return __str__


def shown_by(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return a queryset whose objects have something to show where attributes would raise."""
    chosen = queryset.all()
    vars(chosen.query)[SEALED_AS] = ShownValue
    return chosen


@contextmanager
def showing() -> Iterator[None]:
    """Have objects that are loaded meanwhile give something to show, where attributes would raise.

    This is for code that shows them, and does nothing else.
    """
    before = loads_as.set(ShownValue)
    try:
        yield
    finally:
        loads_as.reset(before)


# What gives nothing, no or 0 for what is not a date, number, list or truth value.
_FILTERS = (
    (
        "django.template.defaultfilters",
        "date time timesince timeuntil floatformat filesizeformat stringformat length add yesno "
        "default first last dictsort dictsortreversed",
    ),
    ("django.templatetags.tz", "localtime utc timezone"),
)


def register() -> None:
    """Have the filters of templates leave masks, which are shown then."""
    for module, names in _FILTERS:
        filters = import_module(module).register.filters
        for name in names.split():
            filters[name] = extended(filters[name], leaving_masks)


def leaving_masks(show: Callable[..., Any]) -> Callable[..., Any]:
    """Return what shows values as a function does, and masks as they are."""

    def shows(*args: Any, **kwargs: Any) -> Any:
        return args[0] if args and isinstance(args[0], Mask) else show(*args, **kwargs)

    return shows


def masked_in(field: Any, mask: Mask, instance: Model) -> FieldError:
    """Return the error for an object that would be saved with a mask where a value is needed."""
    if mask.field_path == field.field_path and _is_of_row(mask.sealed, field.key_of(instance)):
        return FieldError(
            f"{field} is masked, and a masked value cannot be encrypted anew: for a copy of the "
            "row, in another database, or because its key, or a column that it is bound to or "
            "indexed with, has changed. A user who may read it can do that."
        )
    return FieldError(
        f"{field} cannot take the masked value of {mask.field_path} from another object: you "
        "may not read it, so it stays where it is."
    )


def _is_of_row(sealed: SealedValue, key: Any) -> bool:
    """Whether a value is of the row with a key, or of that which an object without one copies."""
    return key is None or sealed.row is MISSING or sealed.field.key_in(sealed.row) == key


def is_dots(value: Any) -> bool:
    """Whether a value is what a mask shows."""
    return isinstance(value, str) and value.strip() == DOTS


def is_shown(masks: bool, value: Any) -> bool:
    """Whether a value is what is shown in the place of one, by a field that masks or does not."""
    return (masks and is_dots(value)) or is_unopened(value)


def is_unopened(value: Any) -> bool:
    """Whether a value is what is shown for one that cannot be opened."""
    if not isinstance(value, str) or MARK not in value:
        return False
    text = value.strip()
    with override(None):
        english = str(CANNOT_BE_OPENED)
    return text.startswith((f"{MARK}{CANNOT_BE_OPENED}", f"{MARK}{english}"))


def is_shown_for(field: Any, value: Any, held: SealedValue) -> bool:
    """Whether a value is what a field showed in the place of the one that an object holds."""
    if isinstance(value, Mask):
        same = value.sealed.field == held.field and value.sealed.envelope == held.envelope
        return bool(same)
    # Forms, serializers and imports send back what they were shown.
    if not is_shown(field.masks, value):
        return False
    try:
        return isinstance(held.open(), Mask)
    except (EnvelopeError, ImproperlyConfigured):
        return True


def refuse_mask(field: Any, value: Any) -> None:
    """Raise if a value is a mask, where a value is needed.

    Raises:
        FieldError: it is one.
    """
    if isinstance(value, Mask):
        raise FieldError(
            f"{field}: the value is masked, because you may not read it. It stays where it is, and "
            "cannot be written or dumped."
        )
