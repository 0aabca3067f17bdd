"""What stands for a value that the principal may not read, where a field masks instead of raising.

A mask is an object, not text: saving the object that has one leaves the stored value as it is, and
it cannot be written anywhere else.
"""

from __future__ import annotations

from typing import Any, NoReturn
from weakref import ref

from django.core.exceptions import FieldError
from django.db.models import Model
from django.db.models.expressions import Col

from envelope_fields.crypto.format import encode_text
from envelope_fields.fields.brought import EncryptedAttribute
from envelope_fields.fields.carriers import Kept, StoredEnvelope
from envelope_fields.fields.columns import EncryptedCol

DOTS = "••••••••"


class Mask:
    """The mask of one value: dots for people, and nothing that a program could store.

    Attributes:
        place: `app.model.field`, of the value.
    """

    __slots__ = ("__weakref__", "_envelope", "_is_astray", "_is_newer", "_owner", "place")

    def __init__(self, place: str, envelope: bytes | None = None) -> None:
        self.place = place
        self._envelope = envelope
        self._owner: ref[Model] | None = None
        self._is_astray = False
        self._is_newer = False

    def __str__(self) -> str:
        return DOTS

    def __repr__(self) -> str:
        return f"<Mask of {self.place}: {DOTS}>"  # with what is refused as a value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask) or self._envelope is None:
            return self is other
        return (self.place, self._envelope) == (other.place, other._envelope)

    def __hash__(self) -> int:
        return hash((self.place, self._envelope))

    def __reduce__(self) -> Any:
        # A copy belongs to whatever object it is found in.
        state = {"_is_astray": self._is_astray, "_is_newer": self._is_newer}
        return Mask, (self.place, self._envelope), (None, state)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> NoReturn:
        # Django asks this of whatever is written or compared, before it makes text of it.
        raise FieldError(
            f"The value of {self.place} is masked: you may not read it, so it cannot be written "
            "elsewhere or looked for. Saving the object that it is in leaves it as it is; for "
            "bulk_update(), use a manager made of envelope_fields.fields.EncryptedQuerySet."
        )

    def assigned_to(self, instance: Model, held: Any) -> Mask:
        """Return what an object holds when this mask is assigned to it.

        That is the mask itself in the object that is loaded, or another of the same row. In any
        other it is one that cannot be written: packages assign what they never save.

        Args:
            instance: the object.
            held: what it has in this place so far.
        """
        if self._is_free_for(instance, held):
            self._owner = ref(instance)
            return self
        astray = Mask(self.place, self._envelope)
        astray._is_astray = True
        return astray

    def as_text(self) -> str | None:
        """Return the text of the envelope that the value is in: no more than a mask says."""
        return None if self._envelope is None else encode_text(self._envelope)

    def replaces_what_is_stored(self) -> None:
        """Be the mask of a value that is not in the row yet, from a draft of it."""
        self._is_newer = True

    def stored_in(self, field: Any, instance: Model, add: bool) -> Kept | StoredEnvelope:
        """Return what leaves the stored value alone when the object is saved.

        A new row of a model that copies this one, as histories do, gets the envelope; so does the
        row itself where the mask is of a draft of it.

        Raises:
            FieldError: that would be another field or row, or a new one.
        """
        if add and self._envelope is not None and field.copied_place == self.place:
            return StoredEnvelope(self._envelope, field.label)
        if self.place != field.place or self._is_of_another(instance):
            raise FieldError(
                f"{field} cannot take the masked value of {self.place} from another object: you "
                "may not read it, so it stays where it is."
            )
        if add:
            raise FieldError(
                f"{field} is masked, and a copy of the row would need its value: a user who may "
                "read it can make one."
            )
        if self._is_newer and self._envelope is not None:
            return StoredEnvelope(self._envelope, field.label)
        return Kept()

    def _of(self) -> Model | None:
        return None if self._owner is None else self._owner()

    def _is_of_another(self, instance: Model) -> bool:
        return self._is_astray or (self._of() is not None and not self._is_of(instance))

    def _is_of(self, instance: Model) -> bool:
        owner = self._of()
        return owner is instance or (owner is not None and owner == instance)

    def _is_free_for(self, instance: Model, held: Any) -> bool:
        if self._is_astray:
            return False
        if self._of() is not None:
            return self._is_of(instance)
        # It is being loaded (a new object that has one is refused when saved), or has come back
        # from save(), which Django 6.0 lets return what an expression stored.
        return instance._state.adding or type(held) is Mask


def is_dots(value: Any) -> bool:
    """Whether a value is what a mask shows."""
    return isinstance(value, str) and value.strip() == DOTS


class StoredValue:
    """An expression for what the column of a field holds already."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def resolve_expression(self, *args: Any, **kwargs: Any) -> StoredCol:
        return StoredCol(self.field.model._meta.db_table, self.field)


class StoredCol(EncryptedCol):
    """The column itself, written back into itself."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return Col.as_sql(self, compiler, connection)


class MaskedAttribute(EncryptedAttribute):
    """The attribute of a field that masks: a mask knows whose it is, and dots do not replace it."""

    field: Any

    def __set__(self, instance: Model, value: Any) -> None:
        held = instance.__dict__.get(self.field.attname)
        if type(value) is Mask:
            value = value.assigned_to(instance, held)
        elif type(held) is Mask and is_dots(value):
            return  # forms, serializers and imports send back what they were shown
        instance.__dict__[self.field.attname] = value
