"""The layout: parsing, the text form, and what is refused before any key is asked for."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import MalformedEnvelope

SPEC = Path(__file__).parents[2] / "docs/spec/envelope-v1.md"

well_formed = st.binary(min_size=96, max_size=200).map(lambda rest: b"\x01" + rest)


@given(well_formed)
def test_parse_splits_and_loses_nothing(envelope):
    parts = layout.parse(envelope)
    assert b"".join(parts) == envelope
    assert [len(part) for part in parts] == [9, 24, 48, len(envelope) - 81]
    assert parts.header == b"\x01" + parts.version_id == layout.header(parts.version_id)


@given(well_formed)
@example(b"\x01" + b"\xff" * 96)
def test_text_form_is_an_inverse(envelope):
    text = layout.encode_text(envelope)
    assert re.fullmatch(r"envelope:[A-Za-z0-9_-]+", text)
    assert layout.decode_text(text) == envelope


@given(st.text(max_size=140).map(lambda text: "envelope:" + text) | st.text(max_size=20))
def test_text_of_another_kind_is_refused(text):
    with pytest.raises(MalformedEnvelope):
        layout.decode_text(text)


@given(well_formed, st.data())
def test_no_second_text_opens_to_the_same_envelope(envelope, data):
    text = layout.encode_text(envelope)
    at = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters(max_codepoint=255).filter(lambda c: c != text[at]))
    changed = text[:at] + character + text[at + 1 :]
    with suppress(MalformedEnvelope):
        assert layout.decode_text(changed) != envelope


@given(st.binary(max_size=96))
def test_short_bytes_are_refused(stored):
    with pytest.raises(MalformedEnvelope):
        layout.parse(b"\x01" + stored[:95])
    with pytest.raises(MalformedEnvelope):
        layout.parse(stored)


@pytest.mark.parametrize("first", [b"\x00", *(bytes([n]) for n in range(2, 256))])
def test_only_format_1_is_known(first):
    with pytest.raises(MalformedEnvelope, match="format version"):
        layout.parse(first + bytes(96))


@pytest.mark.parametrize("other", [None, "\x01" + 96 * "\x00", bytearray(b"\x01" + bytes(96)), 1])
def test_only_bytes_are_envelopes(other):
    with pytest.raises(MalformedEnvelope, match=type(other).__name__):
        layout.parse(other)


def test_errors_show_nothing_of_what_was_stored():
    for refuse, given_value in [
        (layout.parse, b"secret" * 20),
        (layout.decode_text, "secret" * 20),
    ]:
        with pytest.raises(MalformedEnvelope) as caught:
            refuse(given_value)
        assert "secret" not in str(caught.value)


def test_the_layout_is_that_of_the_specification():
    rows = re.findall(r"^\| (\d+)(?:\+n)? \| (\d+|n) \| ([a-z ]+)", SPEC.read_text(), re.MULTILINE)
    assert [(int(offset), length, what.strip()) for offset, length, what in rows] == [
        (0, "1", "format"),
        (1, str(layout.VERSION_ID_BYTES), "key version id"),
        (layout.HEADER_BYTES, str(layout.NONCE_PREFIX_BYTES), "nonce prefix"),
        (
            layout.DERIVATION_BYTES,
            str(layout.NONCE_BYTES - layout.NONCE_PREFIX_BYTES),
            "nonce suffix",
        ),
        (layout.WRAPPED_DATA_KEY_AT, str(layout.DATA_KEY_BYTES), "wrapped data key"),
        (layout.PAYLOAD_AT - layout.TAG_BYTES, str(layout.TAG_BYTES), "wrapping tag"),
        (layout.PAYLOAD_AT, "n", "ciphertext"),
        (layout.PAYLOAD_AT, str(layout.TAG_BYTES), "payload tag"),
    ]
