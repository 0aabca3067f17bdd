"""A column's codec says which key version a value names; the census asks no one else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest
from django.db import connection

from envelope_fields.census.columns import encrypted_columns
from envelope_fields.census.values import count_by_version, counted
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.blind_index import INDEX_CODEC
from envelope_fields.crypto.format import ENVELOPE, Codec
from envelope_fields.models import MasterKey
from tests.models import Note
from tests.rotation import put
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")

FIRST, SECOND = b"version1", b"version2"


class Text(Codec):
    """An envelope as text: 108 characters after the prefix are what a rewrap replaces."""

    label_at = slice(0, len(layout.TEXT_PREFIX) + 12)
    marker = layout.TEXT_PREFIX.encode()
    shortest = len(layout.TEXT_PREFIX) + 4 * layout.OVERHEAD_BYTES // 3
    head_bytes = len(layout.TEXT_PREFIX) + 108

    def label(self, version_id):
        return self.marker + urlsafe_b64encode(layout.header(version_id))

    def version_id(self, label):
        return urlsafe_b64decode(label[len(self.marker) :])[1:]

    def envelope_head(self, head):
        return urlsafe_b64decode(head[len(self.marker) :])

    def stored_head(self, envelope_head):
        return self.marker + urlsafe_b64encode(envelope_head)


@pytest.fixture
def column():
    (found,) = [each for each in encrypted_columns("default") if str(each) == "tests.Note.text"]
    return found


def test_values_of_another_kind_are_counted_by_their_codec(column):
    for version_id in (FIRST, FIRST, SECOND):
        put(Note.objects.create(text="a", data=None), "text", bytes(16) + version_id)
    put(Note.objects.create(text="a", data=None), "text", b"too short")
    column = replace(column, codec=INDEX_CODEC)
    found = {group.version_id: group.values for group in counted(column)}
    assert found == {FIRST: 2, SECOND: 1, None: 1}
    assert count_by_version(column, [FIRST]).total() == 2
    assert count_by_version(column, [SECOND, b"version3"]) == {SECOND: 1}


def test_envelopes_in_text(column):
    note = Note.objects.create(text="a", data=None)
    envelope = stored(note, "text")
    text = layout.encode_text(envelope).encode()
    put(note, "text", text)
    codec = Text()
    current = bytes(MasterKey.objects.get(alias="default").current_version.version_id)
    assert count_by_version(replace(column, codec=codec), [current]) == {current: 1}
    assert count_by_version(column, [current]) == {}
    head = text[: codec.head_bytes]
    assert codec.envelope_head(head) == envelope[: layout.PAYLOAD_AT]
    assert codec.stored_head(envelope[: layout.PAYLOAD_AT]) == head


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has the setting")
def test_backslashes_that_are_escapes(column):
    Note.objects.create(text="a", data=None)
    current = bytes(MasterKey.objects.get(alias="default").current_version.version_id)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL standard_conforming_strings = off")
    assert count_by_version(column, [current]) == {current: 1}


def test_more_versions_than_a_query_names(column, monkeypatch):
    monkeypatch.setattr("envelope_fields.databases.IN_A_QUERY", 1)
    note = Note.objects.create(text="a", data=None)
    current = stored(note, "text")[1:9]
    assert count_by_version(column, [current, FIRST]) == {current: 1}
    assert count_by_version(column, []).total() == 0


def test_an_envelope_is_one_kind():
    header = ENVELOPE.label(FIRST)
    assert header == layout.header(FIRST)
    assert ENVELOPE.version_id(header) == FIRST
    assert (ENVELOPE.label_bytes, ENVELOPE.head_bytes) == (9, 81)
