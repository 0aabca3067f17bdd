"""Addresses: the text and the bytes are those of Python's classes, which take longer."""

from ipaddress import ip_address

import pytest
from django.utils.ipv6 import clean_ipv6_address
from hypothesis import given, strategies as st

from envelope_fields.crypto import addresses

# Most groups are zeros, as in addresses that people write.
GROUP = st.sampled_from([b"\0\0", b"\0\0", b"\0\1", b"\xff\xff", b"\x0a\0"]) | st.binary(
    min_size=2, max_size=2
)
OF_16_BYTES = st.lists(GROUP, min_size=8, max_size=8).map(b"".join)
PARTS = st.sampled_from([*"0123456789abcdefABCDEF:.%/ \0", "::", "ffff", "10.0.0.1", "01", "é"])


@pytest.mark.parametrize("is_system_right", [True, False])
def test_text(monkeypatch, is_system_right):
    monkeypatch.setattr(addresses, "_is_system_right", is_system_right)

    @given(OF_16_BYTES)
    def is_that_of_django(data):
        text = addresses.text_of(data)
        assert text == clean_ipv6_address(str(ip_address(data)))
        assert addresses.packed(text) == data

    is_that_of_django()
    for data in (bytes(4), bytes([192, 0, 2, 1]), b"\xff" * 4):
        assert addresses.text_of(data) == str(ip_address(data))
    for data in (b"", bytes(3), bytes(5), b"\1" * 15, b"\1" * 17):
        with pytest.raises(ValueError):  # noqa: PT011 - of any text
            addresses.text_of(data)


@given(st.lists(PARTS, max_size=12).map("".join))
def test_what_the_system_takes_is_an_address(text):
    found = addresses.packed(text)
    assert found is None or found == ip_address(text).packed


def test_the_system_is_asked_where_it_writes_as_the_standard_does(monkeypatch):
    def shortens_one_group(family, data):
        return str(ip_address(data)).replace(":0:", "::", 1)

    assert addresses._writes_as_the_standard()
    monkeypatch.setattr(addresses, "inet_ntop", shortens_one_group)
    assert not addresses._writes_as_the_standard()

    def knows_none(family, data):
        raise OSError

    monkeypatch.setattr(addresses, "inet_ntop", knows_none)
    assert not addresses._writes_as_the_standard()
