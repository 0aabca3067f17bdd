"""The encrypted field classes, by the classes of Django that they extend."""

from collections.abc import MutableMapping
from typing import Any, Final

from envelope_fields.fields import identifiers, json, numbers, text, times

FAMILY: Final[dict[type, Any]] = {
    next(base for base in each.__mro__ if base.__module__.startswith("django.")): each
    for module in (identifiers, json, numbers, text, times)
    for name, each in vars(module).items()
    if name.startswith("Encrypted") and name.endswith("Field")
}


def add_encrypted_classes(known: MutableMapping[Any, Any]) -> None:
    """Have a package that knows fields by their exact class know the encrypted ones.

    Args:
        known: its table of field classes; each encrypted class gets what the plain one has there,
            unless it is in the table already.
    """
    for plain_class, encrypted_class in FAMILY.items():
        if plain_class in known:
            known.setdefault(encrypted_class, known[plain_class])
