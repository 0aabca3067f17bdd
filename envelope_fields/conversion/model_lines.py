"""The lines of a model that declare what a field becomes, to be pasted in its place.

Options are written as the model has them, where its source can be read: with its own names, and
texts that are translated.
"""

import ast
import inspect
import textwrap
from typing import Any

from django.db.migrations.writer import MigrationWriter

from envelope_fields.conversion.declaration import NOT_ENCRYPTED, Declared, Move

_WIDTH = 100


def model_lines(move: Move) -> str:
    """Return the lines that declare all fields of a move, indented as in a class."""
    written = _written_options(move.field)
    options = {each: text for each, text in written.items() if each not in NOT_ENCRYPTED}
    lines = [
        _line(move.old, {}),
        _line(move.new, options),
        *(_line(each, {}) for each in move.indexes),
    ]
    return textwrap.indent("\n".join(lines), "    ")


def imports(move: Move) -> str:
    """Return the line that imports what these name of ours."""
    names = sorted({each.kind.__name__ for each in (move.new, *move.indexes)})
    return f"from envelope_fields.fields import {', '.join(names)}"


def source_file(move: Move) -> str:
    """Return the file that declares the model, as well as it is known."""
    return f"{move.field.model.__module__.replace('.', '/')}.py"


def _line(declared: Declared, written: dict[str, str]) -> str:
    arguments = [_serialized(each) for each in declared.arguments]
    options = {name: _serialized(each) for name, each in declared.options.items()}
    # What the source has is taken for what it says; what is given beside that is ours.
    options |= {name: text for name, text in written.items() if name in options and name != "null"}
    given = [*arguments, *(f"{name}={text}" for name, text in options.items())]
    line = f"{declared.name} = {_class_name(declared.kind)}({', '.join(given)})"
    if len(line) + 4 <= _WIDTH:
        return line
    inside = textwrap.indent(",\n".join(given), "    ")
    return f"{declared.name} = {_class_name(declared.kind)}(\n{inside},\n)"


def _class_name(kind: Any) -> str:
    is_django = kind.__module__.startswith("django.db.models")
    return f"models.{kind.__name__}" if is_django else str(kind.__name__)


def _serialized(value: Any) -> str:
    text: str = MigrationWriter.serialize(value)[0]
    is_plain = type(value) is str and text == f"'{value}'" and '"' not in value
    return f'"{value}"' if is_plain else text


def _written_options(field: Any) -> dict[str, str]:
    """Return the keyword arguments of a field as the source of its model writes them."""
    for model in field.model.__mro__:
        try:
            source = textwrap.dedent(inspect.getsource(model))
            [declared] = ast.parse(source).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        call = _assigned(declared, field.name)
        if call is not None:
            given = {each.arg: each.value for each in call.keywords if each.arg}
            if call.args and not hasattr(field, "base_field"):
                given["verbose_name"] = call.args[0]
            return {
                name: ast.get_source_segment(source, each) or "" for name, each in given.items()
            }
    return {}


def _assigned(declared: ast.stmt, name: str) -> ast.Call | None:
    for each in getattr(declared, "body", ()):
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        is_it = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        if is_it and isinstance(each.value, ast.Call):
            return each.value
    return None
