"""Values that django-cryptography has pickled: read without `pickle`, which runs what it reads.

The opcodes that text, bytes, numbers, None, JSON, dates, times, zones, Decimal and UUID take, in
every protocol (docs/reference/legacy-formats.md); anything else is refused, and so is what stays
behind. No class is imported by a name that is read: each name that is known stands for a function
of `pickled_types`. What is built is bounded: nothing is set aside for a number that is read, and
opcodes are counted, as is the text that functions are called with, which may be referred to often.
A list or dictionary is in its place alone, since one that is in itself, or twice in each of thirty
others, is not a value. Only a text is a key or a name: Python hashes a tuple as deep as it goes,
and ends as a process where that is a million.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from envelope_fields.fields.legacy import pickled_types
from envelope_fields.fields.legacy.pickled_types import Name, PickleRefused

LARGEST: Final = 64 * 2**20  # bytes; a larger pickle is refused before anything is read
_MOST_OPCODES: Final = 2**22  # some of which build a list of 56 bytes
_HIGHEST_PROTOCOL: Final = 5
_LONGEST_NUMBER: Final = 1024  # bytes
_CALL: Final = 64  # bytes, for what is made of a short text
_CONTAINERS = (list, dict, tuple)

_Step = Callable[["_Reader"], None]
_STEPS: dict[int, _Step] = {}


def read(data: bytes) -> Any:
    """Return the value that was pickled.

    Raises:
        PickleRefused: it is not the pickle of such a value. It shows nothing of it.
    """
    problem: PickleRefused | None = None
    try:
        return _Reader(data).value()
    except Exception:  # of whatever was read; it may show that
        problem = PickleRefused("not the pickle of a value that is read here")
    del data  # error reports show variables
    raise problem


class _Mark:
    """Where the items of a tuple, list or dictionary begin on the stack."""


class _Reader:
    """One pickle while it is read.

    Attributes:
        stack: what was read and is not yet part of something.
        memo: what is referred to again.
        to_make: how many bytes of text may still be made into something else.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > LARGEST:
            raise PickleRefused("too large")
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.to_make = LARGEST
        self._data = data
        self._at = 0

    def value(self) -> Any:
        """Read to the end."""
        left = _MOST_OPCODES
        while (opcode := self.take(1)[0]) != ord("."):
            _STEPS[opcode](self)
            left -= 1
            if not left:
                raise PickleRefused("too many opcodes")
        (found,) = self.stack
        if self._at != len(self._data):
            raise PickleRefused("it ends elsewhere")
        pickled_types.refuse_others(found)
        return found

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        found = self._data[self._at : self._at + length]
        if length < 0 or len(found) != length:
            raise PickleRefused("it ends too early")
        self._at += length
        return found

    def line(self) -> bytes:
        """Return what is there until the end of the line."""
        end = self._data.index(b"\n", self._at)
        found = self.take(end - self._at)
        self._at += 1
        return found

    def number(self, layout: str) -> int:
        """Return an integer of a fixed size."""
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def pop(self) -> Any:
        """Take the last item off the stack."""
        found = self.stack.pop()
        if isinstance(found, _Mark):
            raise PickleRefused("a mark is not a value")
        return found

    def to_mark(self) -> list[Any]:
        """Take the items off the stack that are above the last mark, and the mark."""
        items: list[Any] = []
        while not isinstance(item := self.stack.pop(), _Mark):
            items.append(item)
        items.reverse()
        return items

    def push(self, value: Any) -> None:
        """Put an item on the stack."""
        self.stack.append(value)

    def remember(self, index: int) -> None:
        """Keep the last item under a number."""
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Put what is under a number on the stack again."""
        found = self.memo[index]
        if isinstance(found, (*_CONTAINERS, _Mark)):
            raise PickleRefused("it is in two places")
        self.push(found)

    def top(self, kind: type) -> Any:
        """Return the last item, which is of a type."""
        found = self.stack[-1]
        if type(found) is not kind:
            raise PickleRefused("it is of another type")
        return found


def _opcode(code: bytes) -> Callable[[_Step], _Step]:
    def register(step: _Step) -> _Step:
        _STEPS[code[0]] = step
        return step

    return register


# What takes no more than a line each.

_SIZES = {b"\x8c": "<B", b"X": "<I", b"\x8d": "<Q"}
_BYTE_SIZES = {b"C": "<B", b"B": "<I", b"\x8e": "<Q"}
_INTEGERS = {b"K": "<B", b"M": "<H", b"J": "<i"}
_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}

for _code, _layout in _SIZES.items():
    _opcode(_code)(lambda r, layout=_layout: r.push(r.take(r.number(layout)).decode()))  # type: ignore[misc]
for _code, _layout in _BYTE_SIZES.items():
    _opcode(_code)(lambda r, layout=_layout: r.push(r.take(r.number(layout))))  # type: ignore[misc]
for _code, _layout in _INTEGERS.items():
    _opcode(_code)(lambda r, layout=_layout: r.push(r.number(layout)))  # type: ignore[misc]
for _code, _constant in _CONSTANTS.items():
    _opcode(_code)(lambda r, constant=_constant: r.push(constant))  # type: ignore[misc]

_opcode(b"(")(lambda r: r.push(_Mark()))
_opcode(b")")(lambda r: r.push(()))
_opcode(b"]")(lambda r: r.push([]))
_opcode(b"}")(lambda r: r.push({}))
_opcode(b"t")(lambda r: r.push(tuple(r.to_mark())))
_opcode(b"l")(lambda r: r.push(r.to_mark()))
_opcode(b"V")(lambda r: r.push(r.line().decode("raw-unicode-escape")))
_opcode(b"G")(lambda r: r.push(struct.unpack(">d", r.take(8))[0]))
_opcode(b"F")(lambda r: r.push(float(_short(r.line()))))
_opcode(b"\x94")(lambda r: r.remember(len(r.memo)))
_opcode(b"q")(lambda r: r.remember(r.number("<B")))
_opcode(b"r")(lambda r: r.remember(r.number("<I")))
_opcode(b"p")(lambda r: r.remember(int(_short(r.line()))))
_opcode(b"h")(lambda r: r.recall(r.number("<B")))
_opcode(b"j")(lambda r: r.recall(r.number("<I")))
_opcode(b"g")(lambda r: r.recall(int(_short(r.line()))))


@_opcode(b"\x80")
def _protocol(r: _Reader) -> None:
    if r.number("<B") > _HIGHEST_PROTOCOL:
        raise PickleRefused("a later protocol")


@_opcode(b"\x95")
def _frame(r: _Reader) -> None:
    r.number("<Q")  # how much follows, for those who read a file


def _short(line: bytes) -> bytes:
    if len(line) > _LONGEST_NUMBER:
        raise PickleRefused("a number of that length")
    return line


@_opcode(b"I")
def _int(r: _Reader) -> None:
    line = _short(r.line())
    r.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))


@_opcode(b"L")
def _long(r: _Reader) -> None:
    r.push(int(_short(r.line()).removesuffix(b"L")))


@_opcode(b"\x8a")
def _long1(r: _Reader) -> None:
    r.push(int.from_bytes(r.take(r.number("<B")), "little", signed=True))


@_opcode(b"\x8b")
def _long4(r: _Reader) -> None:
    r.push(int.from_bytes(_short(r.take(r.number("<i"))), "little", signed=True))


for _code, _length in _TUPLES.items():

    def _tuple(r: _Reader, length: int = _length) -> None:
        items = [r.pop() for _ in range(length)]
        r.push(tuple(reversed(items)))

    _opcode(_code)(_tuple)


@_opcode(b"a")
def _append(r: _Reader) -> None:
    item = r.pop()
    r.top(list).append(item)


@_opcode(b"e")
def _appends(r: _Reader) -> None:
    items = r.to_mark()
    r.top(list).extend(items)


@_opcode(b"s")
def _set_item(r: _Reader) -> None:
    item, key = r.pop(), r.pop()
    r.top(dict).update(_pairs([key, item]))


@_opcode(b"u")
def _set_items(r: _Reader) -> None:
    items = r.to_mark()
    r.top(dict).update(_pairs(items))


@_opcode(b"d")
def _dict(r: _Reader) -> None:
    r.push(_pairs(r.to_mark()))


def _pairs(items: list[Any]) -> dict[str, Any]:
    keys = items[::2]
    if not all(type(key) is str for key in keys):
        raise PickleRefused("not a key")
    return dict(zip(keys, items[1::2], strict=True))


# Names, and what they are called with


@_opcode(b"c")
def _global(r: _Reader) -> None:
    module, name = r.line().decode(), r.line().decode()
    r.push(pickled_types.named(module, name))


@_opcode(b"\x93")
def _stack_global(r: _Reader) -> None:
    name, module = r.pop(), r.pop()
    r.push(pickled_types.named(module, name))


@_opcode(b"R")
@_opcode(b"\x81")
def _reduce(r: _Reader) -> None:
    arguments, name = r.pop(), r.pop()
    if type(name) is not Name or type(arguments) is not tuple:
        raise PickleRefused("it is not called")
    r.to_make -= sum(_CALL + len(each) for each in arguments if type(each) in (str, bytes))
    if r.to_make < 0:
        raise PickleRefused("too much is made of what is read")
    r.push(name(*arguments))


@_opcode(b"b")
def _build(r: _Reader) -> None:
    state, blank = r.pop(), r.pop()
    r.push(pickled_types.built(blank, state))
