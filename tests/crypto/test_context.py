"""Contexts: injective, and of domains that never meet."""

import re
from pathlib import Path
from uuid import UUID

from hypothesis import given, strategies as st

from envelope_fields.crypto import context
from tests.crypto import reference

SPEC = Path(__file__).parents[2] / "docs/spec/envelope-v1.md"

parts = st.lists(st.binary(max_size=20), max_size=5)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
pairs = st.dictionaries(text, text, max_size=4)


def decoded(encoded: bytes) -> list[bytes]:
    """Invert PAE: that there is an inverse is what makes it injective."""

    def integer(at):
        return int.from_bytes(encoded[at : at + 8], "little"), at + 8

    count, at = integer(0)
    found = []
    for _ in range(count):
        length, at = integer(at)
        found.append(encoded[at : at + length])
        at += length
    assert at == len(encoded)
    return found


@given(parts)
def test_encoding_can_be_undone(given_parts):
    encoded = context.encode(given_parts)
    assert decoded(encoded) == given_parts
    assert encoded == reference.pae(*given_parts)


def test_moving_a_border_changes_the_context():
    assert context.encode([b"ab", b"c"]) != context.encode([b"a", b"bc"])
    assert context.encode([b"abc"]) != context.encode([b"abc", b""])
    assert context.field_context("a.b.c", [("d", b"e")]) != context.field_context("a.b.cd", [])


def test_bytes_of_a_field_context():
    assert context.field_context("a.b.c") == (
        bytes.fromhex("0200000000000000 0500000000000000") + b"field"
        + bytes.fromhex("0500000000000000") + b"a.b.c"
    )  # fmt: skip


def test_bytes_shown_in_the_specification():
    shown = re.findall(r"^```text\n([0-9a-f\s]+)```", SPEC.read_text(), re.MULTILINE)
    assert [bytes.fromhex(each) for each in shown] == [
        context.field_context("clinic.patient.notes")
    ]


def test_integers_are_little_endian_of_eight_bytes():
    assert context.encode([bytes(258)])[:16].hex() == "0100000000000000" + "0201000000000000"


@given(st.lists(st.tuples(text, st.binary(max_size=10)), max_size=3), text)
def test_bound_columns_follow_the_label_in_order(bindings, label):
    first, second, *rest = decoded(context.field_context(label, bindings))
    assert (first, second) == (b"field", label.encode())
    assert list(zip(rest[::2], rest[1::2], strict=True)) == [(n.encode(), v) for n, v in bindings]


@given(pairs, st.randoms())
def test_the_order_of_kms_pairs_does_not_matter(given_pairs, random):
    items = list(given_pairs.items())
    random.shuffle(items)
    encoded = context.kms_context(dict(items))
    domain, *rest = decoded(encoded)

    assert encoded == context.kms_context(given_pairs)
    assert domain == b"kms"
    assert rest[::2] == sorted(key.encode() for key in given_pairs)


@given(st.lists(pairs, min_size=2, max_size=2, unique_by=lambda p: tuple(sorted(p.items()))))
def test_different_pairs_are_different_contexts(two):
    assert context.kms_context(two[0]) != context.kms_context(two[1])


@given(text, st.lists(st.tuples(text, text.map(str.encode)), max_size=2), pairs)
def test_no_field_context_is_a_kms_context(label, bindings, given_pairs):
    assert context.field_context(label, bindings) != context.kms_context(given_pairs)


def test_version_context_binds_each_of_its_parts():
    key_id, other = UUID(int=1), UUID(int=2)
    contexts = {
        context.KeyVersionContext(key_id, b"version1", 1, "encrypt_decrypt").encode(),
        context.KeyVersionContext(other, b"version1", 1, "encrypt_decrypt").encode(),
        context.KeyVersionContext(key_id, b"version2", 1, "encrypt_decrypt").encode(),
        context.KeyVersionContext(key_id, b"version1", 2, "encrypt_decrypt").encode(),
        context.KeyVersionContext(key_id, b"version1", 1, "mac").encode(),
    }
    assert len(contexts) == 5
    assert context.KeyVersionContext(key_id, b"version1", 12, "encrypt_decrypt").pairs() == {
        "master_key": "00000000-0000-0000-0000-000000000001",
        "version_id": "76657273696f6e31",
        "number": "12",
        "usage": "encrypt_decrypt",
    }
    assert {decoded(one)[0] for one in contexts} == {b"master-key-version"}
