"""Looking for the values of encrypted fields in the variables of frames.

Nothing is asked of an attribute, which might read a database or open a value: what objects hold
is looked at where they hold it.
"""

import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FrameType, ModuleType, TracebackType
from typing import Any

from django.apps import AppConfig
from django.db.models import Field, Model, Q, QuerySet, Value
from django.db.models.expressions import BaseExpression
from django.db.models.options import Options
from django.db.models.sql import Query
from django.forms import BaseForm
from django.utils.datastructures import MultiValueDict

from envelope_fields.reporting import secrets

_DEPTH = 5  # a view's serializer has the data that has the value
_LOOKS = 2_000  # for each frame, so that a report takes no longer than it should

# What does not hold values, and leads to everything.
_LEFT_ALONE = (
    *(str, bytes, int, float, bool, type(None), type),
    *(AppConfig, Field, ModuleType, Options),
)
_SEQUENCES = (list, tuple, set, frozenset, deque)
_WITH_DATA = (BaseExpression, BaseForm, Model, Q, Query, QuerySet, partial)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})


class Found:
    """What was found of encrypted fields."""

    def __init__(self) -> None:
        self.secrets = secrets.Secrets()
        self._seen: set[int] = set()

    def look_into_exception(self, error: BaseException | None) -> None:
        """Look into the frames that an exception passed, and those that it came from."""
        for each in chain(error):
            self.look_into_traceback(each.__traceback__)

    def look_into_traceback(self, traceback: TracebackType | None) -> None:
        """Look into the frames of a traceback."""
        while traceback is not None:
            self.look_into_frame(traceback.tb_frame)
            traceback = traceback.tb_next

    def look_into_frame(self, frame: FrameType) -> None:
        """Look into the variables of a frame, the nearest first."""
        variables = dict(frame.f_locals)
        if is_of_library(frame.f_code.co_filename):
            by_position = read_by_position(frame.f_code.co_name, variables)
            self.secrets.add([value for field, value in by_position if secrets.is_encrypted(field)])
        else:
            self._note(variables)
        self.look_into(variables.values())

    def look_into(self, values: Iterable[Any]) -> None:
        """Look into some values, and into what they hold."""
        waiting = deque((0, value) for value in values)
        for _ in range(_LOOKS):
            if not waiting:
                return
            depth, value = waiting.popleft()
            if depth < _DEPTH and id(value) not in self._seen:
                self._seen.add(id(value))
                inside = self._inside(value)
                waiting.extend((depth + 1, each) for each in inside if _may_hold_values(each))

    def look_into_stack(self, frame: FrameType | None) -> None:
        """Look into a frame, and those that it was called from."""
        while frame is not None:
            self.look_into_frame(frame)
            frame = frame.f_back

    def _note(self, named: dict[Any, Any]) -> None:
        for name, value in named.items():
            # What is posted is all data, which may be the name of a field, too.
            if name in self.secrets.names and not issubclass(type(value), MultiValueDict):
                self.secrets.add(value)

    def _inside(self, value: Any) -> Iterable[Any]:
        """Note the secrets that something holds, and return what else is to be looked at."""
        kind = type(value)  # not isinstance(), for which a lazy object would be made
        if issubclass(kind, _SEQUENCES):
            self._note(dict(zip(getattr(kind, "_fields", ()), value, strict=False)))
            inside = list(value)
            if len(inside) == 3 and secrets.is_encrypted(inside[0]):
                self.secrets.add(inside[2])  # field, model and value of an UPDATE
            return inside
        if issubclass(kind, Mapping):
            items = dict(dict.items(value) if issubclass(kind, dict) else value.items())
            self._note(items)
            return items.values()
        return self._in_object(value, kind)

    def _in_object(self, value: Any, kind: type) -> Iterable[Any]:
        held = secrets.attributes(value)
        if issubclass(kind, Model):
            for field in secrets.encrypted_fields(kind):
                self.secrets.add(held.get(field.attname))
        elif issubclass(kind, Value) and secrets.is_encrypted(held.get("output_field")):
            self.secrets.add(value)
        elif issubclass(kind, Q):
            for child in held.get("children", ()):
                if secrets.is_pair(child) and child[0] in self.secrets.names:
                    self.secrets.add(child[1])
        elif not is_of_library(_file_of(kind)):
            self._note(held)
        return held.values()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, and those that it came from."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
            waiting += getattr(each, "exceptions", ())


def read_by_position(function: str, variables: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield fields and values where Django has the values of a row by position, not by name."""
    if function == "apply_converters" and "row" in variables:
        for position, (_, expression) in variables["converters"]:
            yield getattr(expression, "target", None), variables["row"][position]
    elif function == "from_db":
        fields = variables["cls"]._meta.concrete_fields
        fields = [field for field in fields if field.attname in variables["field_names"]]
        yield from zip(fields, variables["values"], strict=False)
    elif function == "__init__" and issubclass(type(variables.get("self")), Model):
        fields = variables["self"]._meta.concrete_fields
        yield from zip(fields, variables.get("args", ()), strict=False)


def is_of_library(file: str) -> bool:
    """Whether a file of source code is one of Python or of an installed package.

    Their variables and attributes go by names of their own, such as `data` and `label`.
    """
    return file.startswith(_LIBRARIES) or file.startswith("<frozen")


def _file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or "<frozen"


def _may_hold_values(value: Any) -> bool:
    """Whether something leads to values: data does, and much else leads to everything there is."""
    kind = type(value)
    if issubclass(kind, _LEFT_ALONE):
        return False
    is_data = issubclass(kind, (*_SEQUENCES, Mapping, *_WITH_DATA))
    return (
        is_data
        or kind.__module__.startswith("rest_framework.")
        or any(not is_of_library(_file_of(each)) for each in kind.__mro__)
    )
