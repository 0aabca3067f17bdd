"""What stands for a value that the principal may not read, where a field masks instead of raising.

A mask is an object and no text: whoever saves the object that has one leaves the stored value as
it is, and it cannot be written anywhere else.
"""

from __future__ import annotations

from typing import Any, NoReturn
from weakref import ref

from django.core.exceptions import FieldError
from django.db.models import Model

from envelope_fields.fields.brought import EncryptedAttribute
from envelope_fields.fields.columns import EncryptedCol

DOTS = "••••••••"


class Mask:
    """The mask of one value: dots for people, and nothing that a program could store.

    Attributes:
        place: `app.model.field`, of the value.
    """

    __slots__ = ("__weakref__", "_owner", "place")

    def __init__(self, place: str) -> None:
        self.place = place
        self._owner: ref[Model] | None = None

    def __str__(self) -> str:
        return DOTS

    def __repr__(self) -> str:
        return f"<Mask of {self.place}>"

    def __reduce__(self) -> Any:
        return Mask, (self.place,)  # a copy belongs to whatever object it is found in

    def resolve_expression(self, *args: Any, **kwargs: Any) -> NoReturn:
        # Django asks this of whatever is written or compared, before it makes text of it.
        raise FieldError(
            f"The value of {self.place} is masked: you may not read it, so it cannot be written "
            "elsewhere or looked for. Saving the object that it is in leaves it as it is; for "
            "bulk_update(), use a manager made of envelope_fields.fields.EncryptedQuerySet."
        )

    def come_to(self, instance: Model, held: Any) -> None:
        """Belong to an object from now on: the one that is loaded, or another of the same row.

        Args:
            held: what the object has in this place so far.

        Raises:
            FieldError: it belongs to another row.
        """
        if not self._is_free_for(instance, held):
            raise FieldError(
                f"The value of {self.place} is masked, and belongs to another object. It cannot be "
                "assigned: you may not read it."
            )
        self._owner = ref(instance)

    def stored_in(self, field: Any, instance: Model, add: bool) -> StoredValue:
        """Return what leaves the stored value alone when the object is saved.

        Raises:
            FieldError: that would be another field or row, or a new one.
        """
        if self.place != field.place or (self._of() is not None and not self._is_of(instance)):
            raise FieldError(
                f"{field} cannot take the masked value of {self.place}: you may not read it, so "
                "it stays where it is."
            )
        if add:
            raise FieldError(
                f"{field} is masked, and a copy of the row would need its value: whoever may "
                "read it can make one."
            )
        return StoredValue(field)

    def _of(self) -> Model | None:
        return None if self._owner is None else self._owner()

    def _is_of(self, instance: Model) -> bool:
        owner = self._of()
        return owner is instance or (owner is not None and owner == instance)

    def _is_free_for(self, instance: Model, held: Any) -> bool:
        if self._of() is not None:
            return self._is_of(instance)
        # It is being loaded (a new object that has one is refused when saved), or has come back
        # from save(), which Django 6.0 lets return what an expression stored.
        return instance._state.adding or type(held) is Mask


def is_dots(value: Any) -> bool:
    """Whether somebody sends back what a mask showed them."""
    return isinstance(value, str) and value.strip() == DOTS


class StoredValue:
    """An expression for what the column of a field holds already."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def resolve_expression(self, *args: Any, **kwargs: Any) -> StoredCol:
        return StoredCol(self.field.model._meta.db_table, self.field)


class StoredCol(EncryptedCol):
    """The column itself, written back into itself."""


class MaskedAttribute(EncryptedAttribute):
    """The attribute of a field that masks: a mask knows whose it is."""

    field: Any

    def __set__(self, instance: Model, value: Any) -> None:
        if type(value) is Mask:
            value.come_to(instance, instance.__dict__.get(self.field.attname))
        instance.__dict__[self.field.attname] = value
