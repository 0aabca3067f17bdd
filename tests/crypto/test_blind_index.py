"""Blind indexes, against vectors and a second implementation, in another language."""

import hashlib
import hmac
import json
import shutil
import subprocess
from datetime import date, datetime

import pytest
from django.apps.registry import Apps
from django.db import models
from hypothesis import given, strategies as st

from envelope_fields.crypto import blind_index
from envelope_fields.crypto.blind_index import IndexDomain, Kind
from envelope_fields.crypto.canonical import DECIMAL, FLOAT
from envelope_fields.crypto.context import field_context, kms_context
from envelope_fields.fields import BlindIndexField, EncryptedJSONField
from envelope_fields.fields.index.normalizers import BUILT_IN
from envelope_fields.fields.index.terms import forms_of_values
from envelope_fields.fields.prepared import Unencrypted
from tests.vectors import make_index_vectors as generator, make_unicode_tables

pytestmark = pytest.mark.any_django

VECTORS = json.loads(generator.FILE.read_text(encoding="ascii"))
READER = generator.FILE.with_name("blind_index.mjs")


class Recorded(models.Model):
    record = EncryptedJSONField()
    value_index = BlindIndexField("record__value")

    class Meta:
        apps = Apps()
        app_label = "tests"


def test_the_file_is_what_its_generator_makes():
    assert generator.FILE.read_text(encoding="ascii") == generator.text()


def given_to(normalizer, text):
    if normalizer.name not in ("year", "month"):
        return text
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def named(vector):
    return ascii(f"{vector['normalizer']} {vector.get('value', '')}")


@pytest.mark.parametrize("vector", VECTORS["normal_forms"], ids=named)
def test_normal_forms(vector):
    normalizer = BUILT_IN[vector["normalizer"]]
    assert normalizer.normalize(given_to(normalizer, vector["value"])) == vector["form"]


@pytest.mark.parametrize("vector", VECTORS["no_normal_form"], ids=named)
def test_no_normal_form(vector):
    assert BUILT_IN[vector["normalizer"]].normalize(vector["value"]) is None


def reduced_decimal(text):
    return DECIMAL.encode(BUILT_IN["exact"].normalize(DECIMAL.decode(text.encode()))).decode()


def reduced_float(text):
    return FLOAT.encode(BUILT_IN["exact"].normalize(FLOAT.decode(bytes.fromhex(text)))).hex()


def form_in_json(text):
    index = Recorded._meta.get_field("value_index")
    [form] = forms_of_values(index, [Unencrypted({"value": json.loads(text)}, None)])
    return form.decode()


REDUCERS = {"decimal": reduced_decimal, "float": reduced_float, "json": form_in_json}


@pytest.mark.parametrize(
    "vector", VECTORS["reduced"], ids=lambda each: ascii(f"{each['type']} {each['value']}")
)
def test_reduced_numbers(vector):
    assert REDUCERS[vector["type"]](vector["value"]) == vector["form"]


def made(vector):
    domain = IndexDomain(
        Kind(vector["kind"]),
        vector["name"],
        vector["normalizer"],
        vector["normalizer_version"],
        vector["part"],
    )
    scope = [(name, bytes.fromhex(value)) for name, value in vector["scope"]]
    forms = map(bytes.fromhex, vector["forms"])
    return domain.encode() + blind_index.value_part(forms, scope, vector["spread"])


@pytest.mark.parametrize("vector", VECTORS["values"], ids=named)
def test_values(vector):
    message = made(vector)
    assert message.hex() == vector["message"]
    digest = hmac.new(bytes.fromhex(VECTORS["key"]), message, hashlib.sha256).digest()
    version_id = bytes.fromhex(VECTORS["version_id"])
    stored = blind_index.index_value(digest, version_id)
    assert stored.hex() == vector["value"]
    assert len(stored) == blind_index.INDEX_BYTES == 24
    assert blind_index.version_id(stored) == version_id


@pytest.mark.parametrize("pair", VECTORS["different"], ids=lambda pair: named(pair[0]))
def test_different_values(pair):
    one, other = map(made, pair)
    assert one != other


@given(st.binary(max_size=300))
def test_the_shorter_way_for_one_value(value):
    assert blind_index.single_value_part(value) == blind_index.value_part([value])


def test_no_other_domain_begins_alike():
    """So that neither `kms` nor an envelope is an oracle for an index."""
    index = IndexDomain(Kind.FIELD, "a", "exact", 1).encode() + blind_index.value_part([b""])
    others = (
        blind_index.kms_mac_message(kms_context({}), index),
        kms_context({"index-v1": "field"}),
        field_context("index-v1"),
    )
    assert all(not other.startswith(index[:24]) for other in others)
    assert len({other[16:24] for other in (*others, index)}) == 4


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_an_implementation_in_another_language_agrees():
    tables = json.loads(make_unicode_tables.FILE.read_text())
    done = subprocess.run(
        ["node", READER],
        input=json.dumps({**VECTORS, "tables": tables}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
