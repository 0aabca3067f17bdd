"""Pickles are read without `pickle`: values of every protocol, and nothing that does something."""

import pickle
import pickletools
import struct
import tracemalloc
from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given, settings, strategies as st

from envelope_fields.fields.legacy import pickles
from envelope_fields.fields.legacy.pickled_types import PickleRefused

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

ZONES = st.sampled_from([None, UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-3), "x")])
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.dates(), st.times(), st.timedeltas(), st.uuids(), st.datetimes(timezones=ZONES),
    st.decimals(allow_nan=False, places=2),
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=st.one_of(PLAIN, JSON), protocol=st.sampled_from(PROTOCOLS))
@settings(max_examples=300)
def test_value_is_read_as_pickle_reads_it(value, protocol):
    pickled = pickle.dumps(value, protocol)
    try:
        found = pickles.read(pickled)
    except PickleRefused:
        assert has_container_twice(pickled)
        return
    assert found == value
    assert type(found) is type(value)


def has_container_twice(pickled):
    """Whether the pickle refers to an empty list or dictionary that it has elsewhere."""
    names = [opcode.name for opcode, _, _ in pickletools.genops(pickled)]
    return "EMPTY_LIST" in names or "EMPTY_DICT" in names or "LIST" in names or "DICT" in names


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        time(1, 2, tzinfo=UTC),
        Decimal("-1E+5"),
        10**1000,
        "\n\\u1234 \U0001d11e",
        "x" * 70_000,
        b"x" * 70_000,
    ],
    ids=lambda value: str(value)[:30],
)
def test_rare_value_is_read(value, protocol):
    pickled = pickle.dumps(value, protocol)
    found, wanted = pickles.read(pickled), pickle.loads(pickled)
    assert found == wanted
    assert getattr(found, "fold", 0) == getattr(wanted, "fold", 0)  # not in every protocol


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
def test_text_that_is_safe_in_html_is_a_text(protocol):
    found = pickles.read(pickle.dumps(mark_safe("<b>"), protocol))
    assert (found, type(found)) == ("<b>", str)


class Runs:
    def __reduce__(self):
        return print, ("it ran",)


class Attributes:
    def __init__(self):
        self.value = 1


NESTED = "["
HOSTILE = {
    "calls a function": pickle.dumps(Runs()),
    "is of a class": pickle.dumps(Attributes()),
    "imports": b"cos\nsystem\n(Vecho\ntR.",
    "imports by the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04echo\x85R.",
    "gets an attribute": b"c__builtin__\ngetattr\ncdatetime\ndate\nX\x05\0\0\0today\x86R)R.",
    "is a function": b"cdatetime\ndate\n.",
    "is a function of ZoneInfo": pickle.dumps(ZoneInfo._unpickle),
    "reads a file as a zone": b"czoneinfo\nZoneInfo._unpickle\n(V../../etc/passwd\nI1\ntR.",
    "is in itself": b"]q\0h\0a.",
    "is in itself, in a dictionary": b"}q\0V\nh\0s.",
    "is many times in many": b"]" + b"q\0]h\0ah\0a" * 40 + b".",
    "memo of four GiB": b"Nr\xff\xff\xff\xffN.",
    "memo of four GiB, and no more": b"r\xff\xff\xff\xff.",
    "text of four GiB": b"X\xff\xff\xff\xffa.",
    "text of more": b"\x8d" + struct.pack("<Q", 2**63) + b"a.",
    "negative length": b"\x8b" + struct.pack("<i", -1) + b".",
    "a number of two million digits": b"L" + b"9" * 2_000_000 + b"L\n.",
    "a number of a million bytes": b"\x8b" + struct.pack("<i", 10**6) + b"\1" * 10**6 + b".",
    "a Decimal of a billion digits": b"cdecimal\nDecimal\n(V1e999999999\ntR.",
    "too deep": b"]" * 5000 + b"a" * 4999 + b".",
    "deep": b"(" * 5000 + b"t" * 5000 + b".",
    "a mark": b"(.",
    "nothing": b".",
    "empty": b"",
    "no end": b"N",
    "more behind": b"N.N.",
    "two values": b"NN.",
    "persistent id": b"Vx\nQ.",
    "extension": b"\x82\x01.",
    "a later protocol": b"\x80\x06N.",
    "buffers": b"\x97.",
    "a set": pickle.dumps({1}, 4),
    "state on a date": b"cdatetime\ndate\nC\x04\x07\xe4\x01\x01\x85R}b.",
    "a date of another month": b"cdatetime\ndate\nC\x04\x07\xe4\x77\x01\x85R.",
    "a zone that is none": b"cdatetime\ndatetime\nC\x0a\x07\xe4\1\1\0\0\0\0\0\0Vutc\n\x86R.",
    "UUID before its state": b"cuuid\nUUID\n)\x81.",
    "a key that is a tuple": b"}N\x85Ns.",
    "a key that is a number": b"}K\1Ns.",
    "keys that are tuples": b"}(N\x85Nu.",
    "a name that is a tuple": b"N\x85Vdate\n\x93.",
    "a UUID too large": b"cuuid\nUUID\n)\x81}Vint\n\x8a\x11" + b"\x7f" * 17 + b"sb.",
}


@pytest.mark.parametrize("pickled", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_value_is_refused_in_little_memory(pickled, capsys):
    tracemalloc.start()
    try:
        with pytest.raises(PickleRefused) as caught:
            pickles.read(pickled)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(pickled) + 2**20
    assert caught.value.__context__ is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("end", [b"Ns.", b"N\x93."])
def test_deep_tuple_is_hashed_nowhere(end):
    with pytest.raises(PickleRefused):
        pickles.read(b"}N" + b"\x85" * 10**6 + end)  # whose hash ends the process


def test_what_is_made_of_one_text_again_and_again_is_bounded(monkeypatch):
    monkeypatch.setattr(pickles, "LARGEST", 10_000)
    first = b"c_codecs\nencode\nq\0V" + b"a" * 1000 + b"\nq\1Vlatin1\nq\2\x86R"
    for times, is_read in ((5, True), (10, False)):
        pickled = b"(" + first + b"h\0h\1h\2\x86R" * (times - 1) + b"l."
        with nullcontext() if is_read else pytest.raises(PickleRefused):
            assert pickles.read(pickled) == [b"a" * 1000] * times


def test_number_of_opcodes_is_bounded(monkeypatch):
    monkeypatch.setattr(pickles, "_MOST_OPCODES", 100)
    assert pickles.read(b"](" + b"N" * 90 + b"e.") == [None] * 90
    with pytest.raises(PickleRefused):
        pickles.read(b"](" + b"N" * 100 + b"e.")


def test_what_is_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr(pickles, "LARGEST", 100)
    with pytest.raises(PickleRefused):
        pickles.read(pickle.dumps("x" * 101))


@given(pickled=st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(pickled):
    read_or_refused(pickled)


@given(
    value=st.one_of(PLAIN, JSON),
    protocol=st.sampled_from(PROTOCOLS),
    at=st.integers(0, 500),
    byte=st.integers(0, 255),
)
@settings(max_examples=500)
def test_altered_pickle_is_read_or_refused(value, protocol, at, byte):
    pickled = bytearray(pickle.dumps(value, protocol))
    pickled[at % len(pickled)] = byte
    read_or_refused(bytes(pickled))


OPCODES = st.sampled_from(sorted(ord(opcode.code) for opcode in pickletools.opcodes))


@given(opcodes=st.lists(OPCODES | st.integers(0, 255), max_size=60))
@settings(max_examples=500)
def test_any_opcodes_are_read_or_refused(opcodes):
    read_or_refused(bytes(opcodes) + b".")


ALLOWED = (str, bytes, int, float, bool, type(None), list, dict, date, time, timedelta,
           Decimal, UUID)  # fmt: skip


def read_or_refused(pickled):
    try:
        found = pickles.read(pickled)
    except PickleRefused:
        return
    assert isinstance(found, ALLOWED)
