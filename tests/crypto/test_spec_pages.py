"""The code of docs/spec/decrypt-without-us.md, taken from the page and run against the vectors."""

import json
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from django.db import connections

from tests.vectors.make_envelope_vectors import FILE

PAGE = Path(__file__).parents[2] / "docs/spec/decrypt-without-us.md"
VECTORS = json.loads(FILE.read_text())
FIELD_VECTORS = [vector for vector in VECTORS["valid"] if "label" in vector]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def page():
    names = {}
    for block in blocks("python"):
        exec(compile(block, PAGE.name, "exec"), names)
    return names


def test_a_value_takes_twenty_lines_and_none_of_ours():
    value, master_key = blocks("python")
    assert sum(bool(line.strip()) for line in value.splitlines()) <= 20
    assert "envelope_fields" not in value + master_key


@pytest.mark.parametrize("vector", FIELD_VECTORS, ids=lambda vector: vector["name"])
def test_it_opens_our_vectors(page, vector):
    master_key, envelope = (bytes.fromhex(vector[name]) for name in ("master_key", "envelope"))
    assert page["decrypt"](master_key, envelope, vector["label"]).hex() == vector["plaintext"]
    with pytest.raises(InvalidTag):
        page["decrypt"](master_key, envelope, vector["label"] + "x")


def test_it_opens_a_master_key_and_a_value_under_it(page):
    wrapped, vector = VECTORS["root_wrap"], FIELD_VECTORS[0]
    [bound] = [each for each in VECTORS["contexts"] if "master_key_id" in each]

    master_key = page["open_master_key"](
        wrapped["root_key_base64"],
        bytes.fromhex(wrapped["wrapped_material"]),
        bound["master_key_id"],
        bytes.fromhex(bound["version_id"]),
        bound["number"],
        bound["usage"],
    )

    assert master_key.hex() == vector["master_key"]
    value = page["decrypt"](master_key, bytes.fromhex(vector["envelope"]), vector["label"])
    assert value.hex() == vector["plaintext"]


@pytest.mark.django_db
def test_its_query_finds_the_key_of_a_stored_envelope(page, settings):
    from envelope_fields import keyring
    from envelope_fields.crypto import context, envelope

    label = "clinic.patient.notes"
    key = keyring.values.wrapping_key("default", "default")
    stored = envelope.encrypt(key, b"a value", context.field_context(label))

    with connections["default"].cursor() as cursor:
        [query] = blocks("sql")
        cursor.execute(query.replace(":version_id", "%s"), [stored[1:9]])
        [(wrapped, key_id, version_id, number, usage)] = cursor.fetchall()
    root_key = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["OPTIONS"]["key"]
    row = (bytes(wrapped), key_id, bytes(version_id), number, usage)
    master_key = page["open_master_key"](root_key, *row)

    assert page["decrypt"](master_key, stored, label) == b"a value"
