"""What the names in a pickle stand for: functions of ours, and never what is imported by a name."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

_VALUES = (str, bytes, int, float, bool, type(None), date, datetime, time, timedelta, Decimal, UUID)
_DEEPEST: Final = 100
_LONGEST_DECIMAL: Final = 1024  # digits, and places: what a column of numbers has at most
_OLD = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # Python 2, and protocols before 3


class PickleRefused(ValueError):
    """A pickle holds something else than a value that is read here."""


class Name:
    """A name in a pickle: of a class, or of a function that makes something of arguments."""

    __slots__ = ("_make", "path")

    def __init__(self, path: str, make: Callable[..., Any]) -> None:
        self.path = path
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)


class _Blank:
    """A UUID before its state has come."""


def named(module: Any, name: Any) -> Name:
    """Return what a name stands for; `PickleRefused` or `KeyError` if that is not known."""
    if type(module) is not str or type(name) is not str:
        raise PickleRefused("not a name")
    path = f"{_OLD.get(module, module)}.{name}"
    return Name(path, _MAKERS[path])


def built(blank: Any, state: Any) -> UUID:
    """Return what a state makes of what was blank."""
    if type(blank) is not _Blank or type(state) is not dict:
        raise PickleRefused("it takes no state")
    return UUID(int=state["int"])


def refuse_others(value: Any, deep: int = 0) -> None:
    """Raise for what only helps to make a value, and for what is too deep."""
    if type(value) in _VALUES:
        return
    if deep > _DEEPEST or type(value) not in (list, dict):
        raise PickleRefused("not a value")
    for each in value.values() if isinstance(value, dict) else value:
        refuse_others(each, deep + 1)


def _state(given: Any, length: int) -> bytes:
    if type(given) is not bytes or len(given) != length:
        raise PickleRefused("not the state of a date or time")
    return given


def _date(state: Any) -> date:
    return date(_state(state, 4))  # type: ignore[call-arg,arg-type]  # as pickle calls it


def _datetime(state: Any, zone: Any = None) -> datetime:
    return datetime(_state(state, 10), _zone(zone))  # type: ignore[call-arg,arg-type]


def _time(state: Any, zone: Any = None) -> time:
    return time(_state(state, 6), _zone(zone))  # type: ignore[arg-type]


def _zone(given: Any) -> tzinfo | None:
    if given is not None and type(given) not in (timezone, ZoneInfo):
        raise PickleRefused("not a time zone")
    return given  # type: ignore[no-any-return]


def _timedelta(days: Any, seconds: Any = 0, microseconds: Any = 0) -> timedelta:
    return timedelta(*(_number(each) for each in (days, seconds, microseconds)))


def _timezone(offset: Any, name: Any = "") -> timezone:
    if type(offset) is not timedelta or type(name) is not str:
        raise PickleRefused("not a time zone")
    return timezone(offset)


def _zone_info(key: Any, _from_cache: Any = True) -> ZoneInfo:
    return ZoneInfo(_text(key))


def _pytz(_: Any, offset: Any = 0, *__: Any) -> timezone:
    """Return the zone at one moment, as pytz pickles it with that."""
    return timezone(timedelta(seconds=_number(offset)))


def _pytz_fixed(minutes: Any) -> timezone:
    return timezone(timedelta(minutes=_number(minutes)))


def _decimal(text: Any) -> Decimal:
    if len(_text(text)) > _LONGEST_DECIMAL:
        raise PickleRefused("a number of that length")
    found = Decimal(text)
    if found.is_finite() and abs(found.adjusted()) > _LONGEST_DECIMAL:
        raise PickleRefused("a number of that size")
    return found


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise PickleRefused("not how bytes are written")
    return _text(text).encode("latin-1")


def _bytes(*nothing: Any) -> bytes:
    if nothing:
        raise PickleRefused("not how bytes are written")
    return b""


def _reconstructor(kind: Any, base: Any, state: Any) -> Any:
    """Make what protocols 0 and 1 make so: a UUID that is blank, or text of a class."""
    pair = tuple(each.path if type(each) is Name else "" for each in (kind, base))
    if pair == ("uuid.UUID", "builtins.object") and state is None:
        return _Blank()
    if pair[0] in _SAFE_TEXT and pair[1] == "builtins.str":
        return _text(state)
    raise PickleRefused("not of a class that is known")


def _getattr(kind: Any, attribute: Any) -> Name:
    if type(kind) is Name and (kind.path, attribute) == ("zoneinfo.ZoneInfo", "_unpickle"):
        return Name("zoneinfo.ZoneInfo._unpickle", _zone_info)
    raise PickleRefused("not an attribute that is known")


def _never(*_: Any) -> Any:
    raise PickleRefused("it is not called")


def _text(given: Any) -> str:
    if type(given) is not str:
        raise PickleRefused("not a text")
    return given


def _number(given: Any) -> int:
    if type(given) is not int:
        raise PickleRefused("not a number")
    return given


_SAFE_TEXT = ("django.utils.safestring.SafeString", "django.utils.safestring.SafeText")
_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "datetime.date": _date,
    "datetime.datetime": _datetime,
    "datetime.time": _time,
    "datetime.timedelta": _timedelta,
    "datetime.timezone": _timezone,
    "zoneinfo.ZoneInfo": _never,
    "zoneinfo.ZoneInfo._unpickle": _zone_info,
    "pytz._p": _pytz,
    "pytz._UTC": lambda: UTC,
    "pytz._FixedOffset": _pytz_fixed,
    "decimal.Decimal": _decimal,
    "uuid.UUID": _Blank,
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "builtins.object": _never,
    "builtins.str": _never,
    "builtins.getattr": _getattr,
    "copyreg._reconstructor": _reconstructor,
    **dict.fromkeys(_SAFE_TEXT, _text),  # a mark that it may stand in HTML
}
