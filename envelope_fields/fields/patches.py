"""Methods of Django and of other packages that do something more for encrypted fields."""

from collections.abc import Callable
from functools import wraps
from typing import Any

_EXTENSIONS = "envelope_fields_extensions"  # of a method: those that it has already


def extend(owner: Any, name: str, extension: Callable[[Any], Any]) -> None:
    """Have a method of a class do something more, unless it does, or that of a base class.

    Args:
        extension: returns what is called in its place, given the method.
    """
    original = getattr(owner, name)
    made = extended(original, extension)
    if made is not original:
        setattr(owner, name, made)


def extended(original: Any, extension: Callable[[Any], Any]) -> Any:
    """Return what is called in the place of a function: itself, where it has the extension."""
    before = getattr(original, _EXTENSIONS, ())  # also where another package has wrapped it since
    if extension in before:
        return original
    made = wraps(original)(extension(original))
    setattr(made, _EXTENSIONS, (*before, extension))
    return made
