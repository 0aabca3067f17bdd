"""The line by which a blind index is declared, for messages that say what to write."""

from collections.abc import Container
from typing import Any

_WRITTEN = (str, bool, tuple)  # an object of another class is not written as it shows itself


def successor(index: Any, name: str, taken: Container[str], *, replaces: bool) -> str:
    """Return the line of an index that is declared as another one, under a name of its own.

    Args:
        index: as it is declared, maybe in no model yet.
        name: of that.
        taken: the names of fields that there are.
        replaces: whether lookups are to go from that one to this one.
    """
    _, _, fields, options = index.deconstruct()
    options = {option: value for option, value in options.items() if option != "replaces"}
    if replaces:
        options["replaces"] = name
    given = [f"{option}={_shown(value)}" for option, value in options.items()]
    number = next(each for each in range(2, 1000) if f"{name}_{each}" not in taken)
    return f"{name}_{number} = BlindIndexField({', '.join([*map(_quoted, fields), *given])})"


def _shown(value: Any) -> str:
    if not isinstance(value, _WRITTEN):
        return "…"
    return _quoted(value) if isinstance(value, str) else repr(value).replace("'", '"')


def _quoted(text: str) -> str:
    return f'"{text}"'
