"""What a plain field and its encrypted one are declared as, side by side, while the column moves.

The plain field keeps its column, with all that the database knows of it, under another name. The
encrypted one has the name, and what the application knows.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field as item
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.migrations.writer import MigrationWriter
from django.db.models import NOT_PROVIDED

from envelope_fields.conversion.obstacles import encrypted_class, plain_field
from envelope_fields.fields import BlindIndexField

# Options that are about the column, and stay with it. Values are prepared and converted by others.
_OF_THE_COLUMN = (
    "base_field", "size", "max_length", "max_digits", "decimal_places", "db_collation",
    "db_comment", "db_tablespace", "unique", "db_index", "encoder", "decoder", "protocol",
    "unpack_ipv4", "path",
)  # fmt: skip
_NOT_ENCRYPTED = ("unique", "db_index", "db_collation", "db_comment", "db_tablespace", "db_column")
# What fills the rows that are there when the column is added.
FILLS_ROWS = ("default", "auto_now", "auto_now_add")


@dataclass(frozen=True, slots=True)
class Declared:
    """A field as a model declares it."""

    name: str
    kind: Any  # its class, and what that is called with
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = item(default_factory=dict)

    def made(self, without: tuple[str, ...] = ()) -> Any:
        """Return the field, without some of its options."""
        options = {name: each for name, each in self.options.items() if name not in without}
        return self.kind(*self.arguments, **options)


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a plain field."""

    field: Any  # as it is now
    old: Declared  # the same under its new name
    new: Declared  # the encrypted one
    indexes: list[Declared]  # that do what the old column's index does
    notes: list[str]  # of what is otherwise afterwards, in sentences


def moved(label: str) -> Move:
    """Return what becomes of a plain field; arguments and errors as for `plain_field`."""
    field = plain_field(label)
    _, _, arguments, options = field.deconstruct()
    old, new = _old(field, options), _new(field, arguments, options)
    return Move(field, old, new, _indexes(field), _notes(field, new))


def _old(field: Any, options: dict[str, Any]) -> Declared:
    kept = {name: options[name] for name in _OF_THE_COLUMN if name in options}
    fixed = {"blank": True, "null": True, "editable": False, "db_column": field.column}
    return Declared(_free(field, f"{field.name}_clear"), type(field), (), {**kept, **fixed})


def _new(field: Any, arguments: Any, options: dict[str, Any]) -> Declared:
    kept = {name: each for name, each in options.items() if name not in _NOT_ENCRYPTED}
    kept["null"] = True
    if not field.null and field.empty_strings_allowed and field.default is NOT_PROVIDED:
        kept["default"] = field.get_default()  # and not NULL, as where no text is given now
    kept["converts"] = _free(field, f"{field.name}_clear")
    kept["db_column"] = _free_column(field, f"{field.column}_encrypted")
    return Declared(field.name, encrypted_class(field), tuple(arguments), kept)


def _indexes(field: Any) -> list[Declared]:
    if not (field.unique or field.db_index):
        return []
    options = {"unique": True} if field.unique else {}
    name = _free(field, f"{field.name}_index")
    return [Declared(name, BlindIndexField, (field.name,), options)]


def _notes(field: Any, new: Declared) -> list[str]:
    notes = []
    if not field.null:
        notes.append(
            "Both columns can be NULL while the values move, and serializers take null for "
            f"{field.name}. When the old one is gone, null= can go from it, by a migration of its "
            "own."
        )
    notes += _inherited(field)
    if field.unique or field.db_index:
        notes.append(
            "The blind index is to be filled before the switch: "
            "`python manage.py rebuild_indexes`. The old column keeps its own until it goes."
        )
    return notes


def _inherited(field: Any) -> Iterator[str]:
    """Yield what is to be seen to where an abstract model declares a field, also for others."""
    name = field.name
    for base in field.model.__mro__:
        meta: Any = getattr(base, "_meta", None)
        if not getattr(meta, "abstract", False) or name not in {f.name for f in meta.local_fields}:
            continue
        others = [
            f"{other._meta.label}.{name}"
            for other in apps.get_models()
            if issubclass(other, base) and other is not field.model and not other._meta.proxy
            if name in {each.name for each in other._meta.local_fields}
        ]
        if others:
            yield (
                f"{name} is declared by {base.__name__}, and is a field of others, too. Paste the "
                f"lines into {field.model.__name__}; or run this for {', '.join(others)} as well, "
                f"and paste them into {base.__name__} then."
            )
        return


def _free(field: Any, wanted: str) -> str:
    """Return a name that no field of the model has."""
    names = {name for each in field.model._meta.get_fields() for name in _names(each)}
    return _unused(wanted, names)


def _names(field: Any) -> tuple[str, ...]:
    return field.name, getattr(field, "attname", field.name)


def _free_column(field: Any, wanted: str) -> str:
    columns = {each.column.lower() for each in field.model._meta.local_concrete_fields}
    lengths = [connections[alias].ops.max_name_length() for alias in connections]
    longest = min([each for each in lengths if each] or [len(wanted)])
    return _unused(wanted if len(wanted) <= longest else f"{wanted[: longest - 12]}_encr", columns)


def _unused(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name.lower() in {each.lower() for each in taken}:
        number += 1
        name = f"{wanted}_{number}"
    return name


# -- The lines that declare it, to be pasted in its place ------------------------------------------

# Options are written as the model has them, where its source can be read: with its own names, and
# texts that are translated.
_WIDTH = 100


def model_lines(move: Move) -> str:
    """Return the lines that declare all fields of a move, indented as in a class."""
    written = _written_options(move.field)
    options = {each: text for each, text in written.items() if each not in _NOT_ENCRYPTED}
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
