"""Canonical values, against vectors, a second implementation, and values that hypothesis draws."""

import json
import math
import pickle
import shutil
import subprocess
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from ipaddress import ip_address
from uuid import UUID

import pytest
from django.utils.ipv6 import clean_ipv6_address
from hypothesis import given, strategies as st

from envelope_fields.crypto import canonical
from envelope_fields.fields import EncryptedDurationField
from tests.vectors import make_canonical_vectors as generator

pytestmark = pytest.mark.any_django

VECTORS = json.loads(generator.FILE.read_text(encoding="ascii"))
READER = generator.FILE.with_name("canonical_values.mjs")
TYPES = {
    each.name: each
    for each in (
        canonical.TEXT, canonical.INTEGER, canonical.BOOLEAN, canonical.DECIMAL, canonical.FLOAT,
        canonical.DATE, canonical.TIME, canonical.DATETIME, canonical.DURATION,
        canonical.UUID_BYTES, canonical.ADDRESS, canonical.BINARY,
    )
}  # fmt: skip


def named(name):
    kind, _, of = name.partition(" of ")
    return canonical.array(named(of)) if kind == "array" else TYPES[name]


def from_json(name, value):
    """Return the Python value of one that a vector writes in JSON."""
    if value is None:
        return None
    if name.startswith("array of "):
        return [from_json(name.removeprefix("array of "), each) for each in value]
    readers = {
        "integer": int,
        "decimal": lambda given: Decimal(
            given if isinstance(given, str) else decimal_parts(*given)
        ),
        "float": float,
        "date": canonical.date.fromisoformat,
        "time": time.fromisoformat,
        "datetime": datetime.fromisoformat,
        "duration": lambda given: timedelta(microseconds=int(given)),
        "uuid": UUID,
        "ip address": ip_address,
        "binary": bytes.fromhex,
    }
    return readers.get(name, lambda given: given)(value)


def decimal_parts(sign, digits, exponent):
    return sign, tuple(map(int, digits)), exponent


def same(one, other):
    """Whether two values are the same, to the digit, the sign of a zero and the kind of a NaN."""
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and one == other


def test_the_file_is_what_its_generator_makes():
    assert generator.FILE.read_text(encoding="ascii") == generator.text()


def name_of(vector):
    return f"{vector['type']}-{vector['bytes']}"


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=name_of)
def test_valid(vector):
    kind, data = named(vector["type"]), bytes.fromhex(vector["bytes"])
    value = from_json(vector["type"], vector["value"])
    read = from_json(vector["type"], vector.get("read", vector["value"]))
    assert kind.encode(value) == data
    assert same(kind.decode(data), read)


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=name_of)
def test_invalid(vector):
    data = bytes.fromhex(vector["bytes"])
    with pytest.raises(ValueError, match="not the canonical bytes") as caught:
        named(vector["type"]).decode(data)
    shown = str(caught.value)
    assert len(data) < 4 or data.decode("latin1") not in shown
    assert caught.value.__context__ is None, "the errors below it show what they could not read"


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_an_implementation_in_another_language_agrees():
    done = subprocess.run(
        ["node", READER], input=json.dumps(VECTORS), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
DRAWN = {
    "text": st.text(),
    "integer": st.integers(),
    "boolean": st.booleans(),
    "decimal": st.decimals(allow_nan=False),
    "float": st.floats(),
    "date": st.dates(),
    "time": st.times(),
    "datetime": st.datetimes(),
    "duration": st.timedeltas(),
    "uuid": st.uuids(),
    "ip address": st.ip_addresses(),
    "binary": st.binary(),
}


@pytest.mark.parametrize("name", DRAWN)
@given(data=st.data())
def test_what_is_written_is_read(name, data):
    value, other = data.draw(DRAWN[name]), data.draw(DRAWN[name])
    written = named(name).encode(value)
    assert same(named(name).decode(written), value)
    assert (written == named(name).encode(other)) == same(value, other)


@given(st.lists(st.none() | st.lists(st.none() | st.text())))
def test_arrays_of_arrays(values):
    kind = canonical.array(canonical.array(canonical.TEXT))
    assert kind.decode(kind.encode(values)) == values


@pytest.mark.parametrize("name", TYPES)
@given(data=st.binary(max_size=40))
def test_each_form_is_of_one_value(name, data):
    kind = named(name)
    try:
        value = kind.decode(data)
    except ValueError:
        return
    assert kind.encode(value) == data


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=OFFSETS))
def test_a_moment_is_the_same_in_every_zone(moment):
    written = canonical.DATETIME.encode(moment)
    assert written == canonical.DATETIME.encode(moment.astimezone(UTC))
    assert canonical.DATETIME.decode(written) == moment


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (canonical.TIME, time(12, tzinfo=UTC)),
        (canonical.ADDRESS, "fe80::1%eth0"),
        (canonical.ADDRESS, "localhost"),
        (canonical.TEXT, "\ud800"),
        (canonical.DATETIME, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    ],
)
def test_what_has_no_form(kind, value):
    with pytest.raises((ValueError, OverflowError)):
        kind.encode(value)


@pytest.mark.parametrize("number", ["0E-12", "1E+2", "-1.5E-9", "Infinity", "NaN"])
def test_a_decimal_has_one_form_in_every_context(number):
    """A context of small letters writes `1e+2`."""
    with localcontext(capitals=0):
        written = canonical.DECIMAL.encode(Decimal(number))
        assert str(canonical.DECIMAL.decode(written)) == str(Decimal(number))
    assert written == number.encode()


class Duration(timedelta):
    """As that of pendulum."""

    def __floordiv__(self, number):
        return NotImplemented


def test_a_duration_of_a_package():
    value = Duration(days=-1, microseconds=1)
    assert canonical.DURATION.encode(value) == b"-86399999999"
    assert EncryptedDurationField().to_plaintext(value) == b"-86399999999"


def test_null_and_the_empty_text_differ_in_parts():
    parts = [canonical.nullable(value, canonical.TEXT) for value in (None, "", "\x00")]
    assert parts == [b"\x00", b"\x01", b"\x01\x00"]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_uuid_is_what_its_constructor_makes(monkeypatch, is_known):
    monkeypatch.setattr(canonical, "_is_uuid_known", is_known)
    made = UUID("6f2f1c9a-3d0b-4e55-9a64-0e8c7d1f2b3a")
    found = canonical.UUID_BYTES.decode(made.bytes)
    assert (found, hash(found), str(found)) == (made, hash(made), str(made))
    assert (found.version, found.is_safe) == (made.version, made.is_safe)
    assert pickle.loads(pickle.dumps(found)) == made
    assert found.__getstate__() == made.__getstate__()
    with pytest.raises(TypeError):
        found.int = 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *(("date", each) for each in (b"2026-W48-6", b"20261128", b"0000-01-01", b"2026-11-28 ")),
        *(("time", each) for each in (b"24:00:00.000000", b"T1:00:00.000000", b"11:00:00,000000")),
        ("datetime", b"2026-W48-6T11:00:00.000000Z"),
        ("datetime", b"2026-11-28T24:00:00.000000Z"),
        ("datetime", b"2026-11-28T11:00:00,000000Z"),
        ("datetime", b"2026-11-28 11:00:00.000000Z"),
        ("datetime", b"2026-11-28T11:00:00.000000+00:00"),
        *(("integer", each) for each in (b"+1", b" 1", b"1_0", b"1\n", "١".encode())),
        ("duration", b"9" * 30),
        *(("decimal", each) for each in (b"1_0", b"+1", b"1e5", b"nan", b"1E+05")),
    ],
    ids=str,
)
def test_what_python_reads_and_nothing_writes(name, data):
    with pytest.raises(ValueError, match=r"^not the canonical bytes") as caught:
        TYPES[name].decode(data)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# -- Addresses: the text and the bytes are those of Python's classes, which take longer -----------

# Most groups are zeros, as in addresses that people write.
GROUP_OF_ADDRESS = st.sampled_from([b"\0\0", b"\0\0", b"\0\1", b"\xff\xff", b"\x0a\0"]) | st.binary(
    min_size=2, max_size=2
)
ADDRESS_BYTES = st.lists(GROUP_OF_ADDRESS, min_size=8, max_size=8).map(b"".join)
PARTS_OF_ADDRESS = st.sampled_from(
    [*"0123456789abcdefABCDEF:.%/ \0", "::", "ffff", "10.0.0.1", "01", "é"]
)


@pytest.mark.parametrize("is_system_right", [True, False])
def test_the_text_of_an_address(monkeypatch, is_system_right):
    monkeypatch.setattr(canonical, "_is_system_right", is_system_right)

    @given(ADDRESS_BYTES)
    def is_that_of_django(data):
        text = canonical.text_of(data)
        assert text == clean_ipv6_address(str(ip_address(data)))
        assert canonical.packed(text) == data

    is_that_of_django()
    for data in (bytes(4), bytes([192, 0, 2, 1]), b"\xff" * 4):
        assert canonical.text_of(data) == str(ip_address(data))
    for data in (b"", bytes(3), bytes(5), b"\1" * 15, b"\1" * 17):
        with pytest.raises(ValueError):  # noqa: PT011 - of any text
            canonical.text_of(data)


@given(st.lists(PARTS_OF_ADDRESS, max_size=12).map("".join))
def test_what_the_system_takes_is_an_address(text):
    found = canonical.packed(text)
    assert found is None or found == ip_address(text).packed


def test_the_system_is_asked_where_it_writes_as_the_standard_does(monkeypatch):
    def shortens_one_group(family, data):
        return str(ip_address(data)).replace(":0:", "::", 1)

    assert canonical._writes_as_the_standard()
    monkeypatch.setattr(canonical, "inet_ntop", shortens_one_group)
    assert not canonical._writes_as_the_standard()

    def knows_none(family, data):
        raise OSError

    monkeypatch.setattr(canonical, "inet_ntop", knows_none)
    assert not canonical._writes_as_the_standard()
