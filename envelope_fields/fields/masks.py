"""What stands for a value that the principal may not read, where a field masks instead of raising.

A mask is an object, not text: saving the object that has one leaves the stored value as it is, and
it cannot be written anywhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy, override

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError, OpeningNeedsThread
from envelope_fields.fields.columns import SEALED_AS
from envelope_fields.fields.sealed import SealedValue, encrypted_fields
from envelope_fields.keyring import version_of
from envelope_fields.policy import Action
from envelope_fields.policy.authorization import may

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

    def __reduce__(self) -> Any:
        return Mask, (self.sealed,)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> NoReturn:
        # Django asks this of whatever is written or compared, before it makes text of it.
        raise FieldError(
            f"The value of {self.field_path} is masked: you may not read it, so it cannot be "
            "written elsewhere or looked for. Saving the object that it is in leaves it as it is; "
            "for bulk_update(), use a manager made of envelope_fields.fields.EncryptedQuerySet."
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
    for field in encrypted_fields(instance):
        sealed = held.get(field.attname)
        if type(sealed) is SealedValue:
            held[field.attname] = sealed.as_kind(ShownValue)
    try:
        yield
    finally:
        for field in encrypted_fields(instance):
            sealed = held.get(field.attname)
            if type(sealed) is ShownValue:
                held[field.attname] = sealed.as_kind(SealedValue)


def shown_by(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return a queryset whose objects have something to show where attributes would raise."""
    chosen = queryset.all()
    vars(chosen.query)[SEALED_AS] = ShownValue
    return chosen


def masked_in(field: Any, mask: Mask, add: bool = False) -> FieldError:
    """Return the error for an object that would be saved with the mask of another value."""
    if add and mask.field_path == field.field_path:
        return FieldError(
            f"{field} is masked, and a copy of the row would need its value: a user who may "
            "read it can make one."
        )
    return FieldError(
        f"{field} cannot take the masked value of {mask.field_path} from another object: you "
        "may not read it, so it stays where it is."
    )


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
